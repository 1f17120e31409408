"""Rules for the body of an invocation (contract 4.3, P3): validation and normalisation, no I/O."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from framework.contract import NO_JSON
from sidecar.messages import ASYNC, JSON_CONTENT_TYPE, SYNC, InvocationMessage, State
from sidecar.subjects import SubjectError, normalise_request_id
from simulator.api.request_body import InvalidRequestError, decode_body

DEFAULT_SYNC_TIMEOUT_S: Final = 30
MAX_TIMEOUT_S: Final = 2**31 - 1

RESERVED_PREFIXES: Final = ("result-", "dispatch-", "metric-", "dlq-")
"""The ids of the platform's own messages start so, and share one name space with the invocations' (contract 2.4)."""

_INVOCATION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


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
    pool = _pool(request.serverless_request_id)
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


def _pool(request_id: str | None) -> str:
    try:
        return normalise_request_id(request_id or "")
    except SubjectError as error:
        raise InvalidRequestError("serverlessRequestID", str(error)) from error


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
