"""Invocations that nobody wants any more (S8): hearing of them, and remembering those that did not start yet.

A cancel message is `{"invocationID": "..."}`, on core NATS, from whoever no longer wants the call; with
`"ifNotStarted": true` it is for a call that waits, and one that runs goes on.
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


class CancelMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """API or activator → cancel. Only the worker that runs the invocation, or holds it, acts on it."""

    invocation_id: str = msgspec.field(name="invocationID")
    if_not_started: bool = msgspec.field(name="ifNotStarted", default=False)


def decode_cancel(data: bytes) -> CancelMessage:
    """Return the checked message.

    Raises:
        MalformedMessageError: too large, not JSON, or without an ID that an invocation can have.
    """
    if len(data) > MAX_CANCEL_BYTES:
        raise MalformedMessageError(f"a cancel message of {len(data)} bytes, at most {MAX_CANCEL_BYTES} are read")
    message = decode(data, CancelMessage)
    if not is_usable_id(message.invocation_id):
        raise MalformedMessageError("a cancel message whose invocationID no invocation can have")
    return message


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


async def listen_for_cancels(queue: Queue, subject: str, cancel: Callable[[str, bool], None]) -> None:
    """Call `cancel` with what each message on `subject` says: the invocation's ID, and whether only if not started.

    It goes on as long as the connection lasts.

    Raises:
        QueueError: the server refuses.
    """

    def receive(_subject: str, data: bytes) -> None:
        try:
            message = decode_cancel(data)
        except MalformedMessageError as error:
            log.warning("cancel message ignored", error=str(error))
            return
        log.info("cancel message", invocationID=message.invocation_id, ifNotStarted=message.if_not_started)
        cancel(message.invocation_id, message.if_not_started)

    await queue.hear(subject, receive)
