"""Logs of the sidecar: one JSON object per line on stderr; never a payload, never a credential.

Lines about one invocation carry its `invocationID`. What other packages log with the standard library comes out in the
same form, from warnings on.
"""

import logging
import re
import sys
from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

import structlog
from structlog.typing import EventDict

REDACTED: Final = "[redacted]"

_USER_IN_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)\S*@")
_SECRET: Final = re.compile(
    r"eyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?"  # a JWT
    r"|S[ACNOUX][A-Z2-7]{56}"  # an nkey's seed
)


def log_json_to_stderr(**bound: str) -> None:
    """Configure structlog, and logging with it, for the whole program; every line carries `bound`."""

    def add_bound(_logger: object, _method: str, event: EventDict) -> EventDict:
        return {**bound, **event}

    structlog.configure(
        processors=[
            add_bound,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,  # Python's own traceback: it shows no local variables
            redact_values,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.root.addHandler(_ToStructlog(logging.WARNING))


def redact(text: str) -> str:
    """The text without users and passwords in URLs, JWTs and nkey seeds."""
    if "://" in text:
        text = _USER_IN_URL.sub(rf"\1{REDACTED}@", text)
    return _SECRET.sub(REDACTED, text)


def redact_values(_logger: object, _method: str, event: EventDict) -> EventDict:
    """structlog processor: redact every text in the event, and name objects instead of showing what they hold."""
    return {key: _safe(value) for key, value in event.items()}


def _safe(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {redact(str(key)): _safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe(item) for item in value]
    if isinstance(value, BaseException | PurePath):
        return redact(str(value))
    # Its text could be a payload: bytes, a message.
    return f"<{type(value).__name__}>"


class _ToStructlog(logging.Handler):
    """Hands the standard library's records over."""

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # its arguments do not fit: a mistake of theirs, and no reason to fail
            text = str(record.msg)
        structlog.get_logger().log(record.levelno, text, logger=record.name, exc_info=record.exc_info)
