"""Subjects, tokens, durable names and message ids (contract sections 2.1, 2.2, 2.4 and 2.5): pure functions."""

import functools
import re
from dataclasses import dataclass
from datetime import datetime

DEFAULT_PREFIX = "runtime.serverless"
DEFAULT_STREAM = "RUNTIME_SERVERLESS"
ACTIVATOR_CONSUMER = "runtime-activator"
RESULT_STORE_CONSUMER = "runtime-result-store"
UNKNOWN = "unknown"

_LITERAL = re.compile(r"[^ .*>]+(?:\.[^ .*>]+)*")
_TOKEN = re.compile(r"[a-z0-9_-]+")
_NOT_TOKEN_RUN = re.compile(r"[^a-z0-9_-]+")
_FORBIDDEN_IN_NAME = frozenset(" .*>/\\")


class SubjectError(ValueError):
    """A name that cannot be used in a subject; the message names the rule."""


def normalise_prefix(prefix: str) -> str:
    """Strip white space and outer dots; empty becomes the default (contract 2.2, stricter by Q9).

    Raises:
        SubjectError: the prefix has empty tokens, wildcards, white space or control characters.
    """
    cleaned = prefix.strip().strip(".")
    if not cleaned:
        return DEFAULT_PREFIX
    if any(c.isspace() or not c.isprintable() or c in "*>" for c in cleaned) or ".." in cleaned:
        raise SubjectError(f"subject prefix {prefix!r} must be dot-separated words without spaces, '*' or '>'")
    return cleaned


def normalise_request_id(request_id: str) -> str:
    """Strip and lower-case a pool's request ID.

    Raises:
        SubjectError: it is empty or has characters outside `[a-z0-9_-]`.
    """
    cleaned = request_id.strip().lower()
    if not cleaned:
        raise SubjectError("request ID must not be empty")
    if not _TOKEN.fullmatch(cleaned):
        raise SubjectError(f"request ID {request_id!r} may only contain letters, digits, '-' and '_'")
    return cleaned


@functools.lru_cache(maxsize=1024)
def dispatch_token(value: str) -> str:
    """Turn any text into one valid subject token; never fails."""
    cleaned = value.strip().lower().replace(".", "-")
    if not cleaned:
        return UNKNOWN
    if _TOKEN.fullmatch(cleaned):
        return cleaned
    return _NOT_TOKEN_RUN.sub("-", cleaned)


def normalise_name(name: str, default: str, what: str) -> str:
    """Strip a stream or consumer name; empty becomes `default`.

    Raises:
        SubjectError: the name holds a space, `.`, `*`, `>`, `/`, a backslash or a control character.
    """
    cleaned = name.strip() or default
    if any(c in _FORBIDDEN_IN_NAME or not c.isprintable() for c in cleaned):
        raise SubjectError(f"{what} {name!r} must not contain spaces, '.', '*', '>', '/' or '\\'")
    return cleaned


def sidecar_consumer(worker_name: str) -> str:
    """Durable name of a worker's consumer (contract 2.5); the token rule keeps dotted names valid (S25)."""
    return f"serverless-sidecar-{dispatch_token(worker_name)}"


def worker_inboxes(request_id: str, worker_name: str) -> str:
    """Prefix of the inboxes that a worker's own NATS identity may listen to (S23): never where callers wait."""
    return f"_WORKER_INBOX.{dispatch_token(request_id)}.{dispatch_token(worker_name)}"


def is_reply_subject(subject: str, prefix: str) -> bool:
    """Whether a caller's reply subject may be published to: one literal subject, none of the platform's or server's."""
    return (
        _LITERAL.fullmatch(subject) is not None
        and subject.isprintable()
        and not subject.startswith("$")
        and not subject.startswith(prefix + ".")
    )


@dataclass(frozen=True, slots=True)
class Subjects:
    """Builds the subjects below one normalised prefix (contract 2.1)."""

    prefix: str = DEFAULT_PREFIX

    def invoke(self, request_id: str) -> str:
        """Where the API publishes an invocation of a pool."""
        return f"{self.prefix}.invoke.{request_id}"

    def dispatch(self, request_id: str, worker_name: str) -> str:
        """Where one worker's sidecar listens."""
        return f"{self.prefix}.dispatch.{dispatch_token(request_id)}.{dispatch_token(worker_name)}"

    def cancel(self, request_id: str, worker_name: str) -> str:
        """Where one worker's sidecar hears, on core NATS, that an invocation is no longer wanted (S8)."""
        return f"{self.prefix}.cancel.{dispatch_token(request_id)}.{dispatch_token(worker_name)}"

    def cancel_queued(self, request_id: str) -> str:
        """Where activators hear, on core NATS, that an invocation of a pool is no longer wanted, wherever it is."""
        return f"{self.prefix}.cancel.{dispatch_token(request_id)}"

    def all_cancels(self) -> str:
        """Where activators listen: `cancel_queued` of all pools."""
        return f"{self.prefix}.cancel.*"

    def result(self, request_id: str) -> str:
        """Where the durable results of a pool go."""
        return f"{self.prefix}.result.{request_id}"

    def metrics(self, request_id: str) -> str:
        """Where the metric events of a pool go."""
        return f"{self.prefix}.metrics.{request_id}"

    def dead_letter(self, source: str, request_id: str) -> str:
        """Where messages go that can never be handled."""
        return f"{self.prefix}.dlq.{dispatch_token(source)}.{dispatch_token(request_id)}"

    def families(self) -> list[str]:
        """Wildcard subjects that the stream keeps, in the contract's order (contract 2.3)."""
        kinds = ("invoke.*", "dispatch.*.*", "result.*", "metrics.*", "dlq.*.*")
        return [f"{self.prefix}.{kind}" for kind in kinds]


def dispatch_message_id(invocation_id: str, worker_name: str, attempt: int = 1) -> str:
    """`Nats-Msg-Id` of a dispatch (contract 2.4). An invocation's own is its bare ID.

    An invocation that is moved may come back to a worker, so from the second dispatch on its number is part of the id.
    """
    again = f"-{attempt}" if attempt > 1 else ""
    return f"dispatch-{invocation_id}-{dispatch_token(worker_name)}{again}"


def result_message_id(invocation_id: str) -> str:
    """`Nats-Msg-Id` of a result (contract 2.4)."""
    return f"result-{invocation_id}"


def metric_message_id(
    worker_name: str,
    event_type: str,
    reported_at: datetime,
    invocation_id: str = "",
    attempt: int = 1,
    dispatch: int = 1,
) -> str:
    """`Nats-Msg-Id` of a metric event (contract 2.4); without an invocation the time makes it unique.

    The events of a second run would be dropped as duplicates, so from the second delivery on, or the second `dispatch`
    on, their numbers are part of the id (S12).
    """
    if invocation_id:
        again = f"-{attempt}" if attempt > 1 else ""
        if dispatch > 1:
            again = f"-{dispatch}.{attempt}"
        return f"metric-{invocation_id}-{dispatch_token(event_type)}{again}"
    nanoseconds = int(reported_at.timestamp() * 1_000_000) * 1000
    return f"metric-{dispatch_token(worker_name)}-{dispatch_token(event_type)}-{nanoseconds}"


def dead_letter_message_id(source: str, invocation_id: str, sequence: int, failed_at: datetime) -> str:
    """`Nats-Msg-Id` of a dead letter (contract 2.4)."""
    if invocation_id:
        return f"dlq-{source}-{dispatch_token(invocation_id)}-{sequence}"
    return f"dlq-{source}-{sequence}-{int(failed_at.timestamp() * 1_000_000) * 1000}"
