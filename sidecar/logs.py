"""Logs of the sidecar: one JSON object per line on stderr; never a payload, never a credential."""

import logging
import sys

import structlog
from structlog.typing import EventDict


def log_json_to_stderr(**bound: str) -> None:
    """Configure structlog for the whole program; every line carries `bound`."""

    def add_bound(_logger: object, _method: str, event: EventDict) -> EventDict:
        return {**bound, **event}

    structlog.configure(
        processors=[
            add_bound,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
