"""Rules for what callers ask of invocations (contract 4.3, P3): validation and normalisation, no I/O."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from framework.contract import NO_JSON
from sidecar.durations import DurationError, parse_duration
from sidecar.messages import ASYNC, JSON_CONTENT_TYPE, SYNC, InvocationMessage, State
from sidecar.subjects import SubjectError, normalise_request_id
from simulator.api.request_body import InvalidRequestError, decode_body

DEFAULT_SYNC_TIMEOUT_S: Final = 30
MAX_TIMEOUT_S: Final = 2**31 - 1

MIRROR_HEADER: Final = "Serverless-Mirror-Status"
"""With `true`, a sync call is answered with its result's `statusCode` as the HTTP status (P4)."""

LONGEST_WAIT_S: Final = 60.0
DEFAULT_LIMIT: Final = 100
HIGHEST_LIMIT: Final = 1000

RESERVED_PREFIXES: Final = ("result-", "dispatch-", "metric-", "dlq-")
"""The ids of the platform's own messages start so, and share one name space with the invocations' (contract 2.4)."""

_INVOCATION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LIMIT = re.compile(r"[0-9]{1,4}")


class InvocationBody(msgspec.Struct, rename="camel"):
    """Body of `POST /api/v1/serverless/invocations` as it may arrive; null counts as absent, but for `payload`."""

    serverless_request_id: str | None = msgspec.field(name="serverlessRequestID", default=None)
    invocation_id: str | None = msgspec.field(name="invocationID", default=None)
    mode: str | None = None
    content_type: str | None = None
    headers: dict[str, str] | None = None
    attributes: dict[str, str] | None = None
    payload: msgspec.Raw = NO_JSON
    timeout_seconds: int | None = None


def parse_invocation(body: bytes, default_id: str) -> InvocationMessage:
    """Read an invocation; `default_id` is its ID when the caller gives none. The payload's bytes stay as they came.

    Subjects and the time of enqueueing are the publisher's to fill in.

    Raises:
        InvalidRequestError: a field is missing or wrong; the message starts with its path.
    """
    request = decode_body(body, InvocationBody)
    pool = parse_pool(request.serverless_request_id)
    invocation_id = _invocation_id(request.invocation_id) or default_id
    mode = request.mode or ASYNC
    if mode not in (ASYNC, SYNC):
        raise InvalidRequestError("mode", f"{mode!r} must be {ASYNC} or {SYNC}")
    timeout_s = request.timeout_seconds or 0
    if not 0 <= timeout_s <= MAX_TIMEOUT_S:
        raise InvalidRequestError("timeoutSeconds", f"must be between 0 and {MAX_TIMEOUT_S}")
    return InvocationMessage(
        invocation_id=invocation_id,
        serverless_request_id=pool,
        mode=mode,
        state=State.QUEUED,
        content_type=(request.content_type or "").strip() or JSON_CONTENT_TYPE,
        headers=_stripped(request.headers, "headers"),
        attributes=_stripped(request.attributes, "attributes"),
        payload=request.payload,
        timeout_seconds=timeout_s or (DEFAULT_SYNC_TIMEOUT_S if mode == SYNC else 0),
    )


def parse_pool(request_id: str | None) -> str:
    """Read and normalise the required `serverlessRequestID`.

    Raises:
        InvalidRequestError: it is missing, or no pool can have it.
    """
    try:
        return normalise_request_id(request_id or "")
    except SubjectError as error:
        raise InvalidRequestError("serverlessRequestID", str(error)) from error


def parse_wait(duration: str | None) -> float:
    """Read the parameter `wait`: seconds, 0 when it is absent.

    Raises:
        InvalidRequestError: it is no duration, or negative, or longer than a minute.
    """
    try:
        wait_s = parse_duration(duration) if duration is not None else 0.0
    except DurationError as error:
        raise InvalidRequestError("wait", str(error)) from error
    if not 0 <= wait_s <= LONGEST_WAIT_S:
        raise InvalidRequestError("wait", f"must be between 0s and {LONGEST_WAIT_S:g}s")
    return wait_s


def parse_limit(limit: str | None) -> int:
    """Read the parameter `limit`.

    Raises:
        InvalidRequestError: it is no number from 1 to `HIGHEST_LIMIT`.
    """
    if limit is None:
        return DEFAULT_LIMIT
    if not _LIMIT.fullmatch(limit) or not 1 <= int(limit) <= HIGHEST_LIMIT:
        raise InvalidRequestError("limit", f"must be between 1 and {HIGHEST_LIMIT}")
    return int(limit)


def parse_mirror(header: str | None) -> bool:
    """Read the header `MIRROR_HEADER`.

    Raises:
        InvalidRequestError: it is neither `true` nor `false`.
    """
    if header is None or header.lower() == "false":
        return False
    if header.lower() != "true":
        raise InvalidRequestError(MIRROR_HEADER, "must be true or false")
    return True


def _invocation_id(value: str | None) -> str:
    invocation_id = (value or "").strip()
    if not invocation_id:
        return ""
    if not _INVOCATION_ID.fullmatch(invocation_id):
        raise InvalidRequestError("invocationID", f"{value!r} must be 1 to 64 letters, digits, '-' and '_'")
    if invocation_id.startswith(RESERVED_PREFIXES):
        raise InvalidRequestError("invocationID", f"{value!r} must not start with {', '.join(RESERVED_PREFIXES)}")
    return invocation_id


def _stripped(entries: Mapping[str, str] | None, field: str) -> dict[str, str]:
    stripped = {key.strip(): value.strip() for key, value in (entries or {}).items()}
    if "" in stripped:
        raise InvalidRequestError(field, "a key must not be empty")
    return stripped
