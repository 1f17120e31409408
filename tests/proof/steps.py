"""The steps of one dispatch as they can be seen from outside the sidecar, and a trap that stops the world at one."""

import asyncio
from enum import StrEnum
from typing import Final

import msgspec

from tests.proof.nats_frames import Frame

TIMEOUT_S: Final = 30.0
"""For every wait for something that must happen; long, because the machine may be busy."""
PREFIX: Final = "runtime.serverless"
REPLIES: Final = "_INBOX.proof"


class Step(StrEnum):
    """Everything that crosses one of the sidecar's sockets on behalf of a dispatch."""

    DELIVERED = "dispatch-delivered"
    STARTED = "started-event"
    REQUEST = "framework-request"
    HALF_ANSWER = "half-of-the-answer"
    ANSWER = "whole-answer"
    RESULT = "result"
    RESULT_STORED = "result-puback"
    REPLY = "reply"
    FINISHED = "finished-event"
    PROGRESS = "in-progress-ack"
    ACK = "ack"
    ACK_CONFIRMED = "ack-confirmed"


class Moment(StrEnum):
    """Whether a step's bytes were passed on."""

    BEFORE = "held"
    AFTER = "passed"


class Recogniser:
    """Names the steps in the frames of the connections between one sidecar and its server."""

    def __init__(self) -> None:
        self._answers: dict[str, Step] = {}

    def sent(self, frame: Frame) -> Step | None:
        """The step that a frame from the sidecar is."""
        if frame.verb not in {"PUB", "HPUB"}:
            return None
        if frame.subject.startswith("$JS.ACK."):
            return self._ack(frame)
        if frame.subject.startswith(f"{REPLIES}."):
            return Step.REPLY
        family = frame.subject.removeprefix(f"{PREFIX}.").partition(".")[0]
        if family == "result":
            self._answers[frame.reply] = Step.RESULT_STORED
            return Step.RESULT
        if family == "metrics":
            event: str = msgspec.json.decode(frame.payload)["eventType"]
            return {"invocation_started": Step.STARTED, "invocation_finished": Step.FINISHED}.get(event)
        return None

    def _ack(self, frame: Frame) -> Step | None:
        if frame.payload == b"+WPI":
            return Step.PROGRESS
        if frame.payload not in {b"", b"+ACK"}:
            return None
        self._answers[frame.reply] = Step.ACK_CONFIRMED
        return Step.ACK

    def received(self, frame: Frame) -> Step | None:
        """The step that a frame from the server is."""
        if frame.verb not in {"MSG", "HMSG"}:
            return None
        if frame.reply.startswith("$JS.ACK."):
            return Step.DELIVERED
        return self._answers.pop(frame.subject, None)


class Trap:
    """Lets everything pass until a step is reached, then nothing, on no socket, until it is opened.

    Without a step it only keeps the account of what passed.
    """

    def __init__(self) -> None:
        self.seen: list[Step] = []
        self._at: tuple[Step, Moment] | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._changed = asyncio.Event()

    def set_at(self, step: Step, moment: Moment) -> None:
        """Stop at the first occurrence of `step` from now on."""
        self._at = (step, moment)

    def open(self) -> None:
        """Let everything pass again; what was held goes on, unless its connection was dropped."""
        self._open.set()

    async def reach(self, step: Step | None, moment: Moment) -> None:
        """Called at each step's moments; `None` is traffic that is no step. Waits while the trap is closed."""
        await self._open.wait()
        if step is None:
            return
        if moment is Moment.BEFORE:
            self.seen.append(step)
        if self._at == (step, moment):
            self._at = None
            self._open.clear()
        self._changed.set()
        await self._open.wait()

    async def closed(self) -> None:
        """Wait until the step is reached.

        Raises:
            AssertionError: it never is.
        """
        at = self._at
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while self._open.is_set():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{at} never occurred; seen: {', '.join(self.seen)}") from None

    async def seen_times(self, step: Step, count: int) -> None:
        """Wait until a step occurred `count` times."""
        async with asyncio.timeout(TIMEOUT_S):
            while self.seen.count(step) < count:
                self._changed.clear()
                await self._changed.wait()
