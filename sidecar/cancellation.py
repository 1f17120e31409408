"""What a cancel message says (S8): `{"invocationID": "..."}`, on core NATS, from whoever no longer wants the call."""

from typing import Final

import msgspec

from sidecar.dead_letters import is_usable_id
from sidecar.messages import MalformedMessageError, decode

MAX_CANCEL_BYTES: Final = 4096


class CancelMessage(msgspec.Struct, frozen=True, kw_only=True):
    """API or activator → cancel. Only the worker that runs the invocation, or holds it, acts on it."""

    invocation_id: str = msgspec.field(name="invocationID")


def decode_cancel(data: bytes) -> str:
    """Return the ID of the invocation to cancel.

    Raises:
        MalformedMessageError: too large, not JSON, or without an ID that an invocation can have.
    """
    if len(data) > MAX_CANCEL_BYTES:
        raise MalformedMessageError(f"a cancel message of {len(data)} bytes, at most {MAX_CANCEL_BYTES} are read")
    invocation_id = decode(data, CancelMessage).invocation_id
    if not is_usable_id(invocation_id):
        raise MalformedMessageError("a cancel message whose invocationID no invocation can have")
    return invocation_id
