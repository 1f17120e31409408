"""Invocations that nobody wants any more (S8): hearing of them, and remembering those that did not start yet.

A cancel message is `{"invocationID": "..."}`, on core NATS, from whoever no longer wants the call.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from sidecar.dead_letters import is_usable_id
from sidecar.messages import MalformedMessageError, decode
from sidecar.queue import Queue

MAX_CANCEL_BYTES: Final = 4096
MAX_REMEMBERED: Final = 1000

log = structlog.get_logger(__name__)


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


class CancelledCalls:
    """The newest cancelled invocations, bounded in number."""

    def __init__(self, most: int = MAX_REMEMBERED) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, invocation_id: str) -> None:
        """Remember one; the oldest makes room."""
        self._ids[invocation_id] = None
        self._ids.move_to_end(invocation_id)
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)

    def take(self, invocation_id: str) -> bool:
        """Whether it was cancelled; it is forgotten now, its result says so."""
        if invocation_id not in self._ids:
            return False
        del self._ids[invocation_id]
        return True


async def listen_for_cancels(queue: Queue, subject: str, cancel: Callable[[str], None]) -> None:
    """Call `cancel` with each invocation ID that is cancelled on `subject`, as long as the connection lasts.

    Raises:
        QueueError: the server refuses.
    """

    def receive(data: bytes) -> None:
        try:
            invocation_id = decode_cancel(data)
        except MalformedMessageError as error:
            log.warning("cancel message ignored", error=str(error))
            return
        log.info("invocation cancelled", invocationID=invocation_id)
        cancel(invocation_id)

    await queue.hear(subject, receive)
