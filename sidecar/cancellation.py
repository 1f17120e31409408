"""Invocations that nobody wants any more (S8): hearing of them, and remembering those that did not start yet.

A cancel message is `{"invocationID": "..."}`, on core NATS, from whoever no longer wants the call; with
`"ifNotStarted": true` it is for a call that waits, and one that runs goes on. With `"moved": 2` the call is wanted, but
not from here: its second dispatch, and those before, are another one's now or have their result (S13).
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Final

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
    moved: Annotated[int, msgspec.Meta(ge=0)] = 0


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


class MovedDispatches:
    """The newest invocations whose dispatches up to a number are not ours any more, bounded in number."""

    def __init__(self, most: int = MAX_REMEMBERED) -> None:
        self._most = most
        self._numbers: OrderedDict[str, int] = OrderedDict()

    def add(self, invocation_id: str, number: int) -> None:
        """Remember one; the oldest makes room."""
        self._numbers[invocation_id] = max(number, self._numbers.get(invocation_id, 0))
        self._numbers.move_to_end(invocation_id)
        if len(self._numbers) > self._most:
            self._numbers.popitem(last=False)

    def includes(self, invocation_id: str, number: int) -> bool:
        """Whether the so many-th dispatch of an invocation is not to be run here."""
        return number <= self._numbers.get(invocation_id, 0)


async def listen_for_cancels(queue: Queue, subject: str, cancel: Callable[[str, bool, int], None]) -> None:
    """Call `cancel` with what each message on `subject` says: an invocation's ID, `ifNotStarted` and `moved`.

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
        log.info(
            "cancel message",
            invocationID=message.invocation_id,
            ifNotStarted=message.if_not_started,
            moved=message.moved,
        )
        cancel(message.invocation_id, message.if_not_started, message.moved)

    await queue.hear(subject, receive)
