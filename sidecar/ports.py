"""What the dispatch loop needs of a queue; `sidecar.queue` has it, and so has the tests' stand-in."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from sidecar.requests import Answer
from sidecar.stored import Published
from sidecar.subjects import Subjects


class DeliveryPort(Protocol):
    """One delivered message; see `sidecar.deliveries.Delivery`."""

    @property
    def subject(self) -> str:
        """Subject that the message was published to."""

    @property
    def data(self) -> bytes:
        """Body, untouched."""

    @property
    def extra_headers(self) -> Mapping[str, str]:
        """NATS headers, if there are others than the message id."""

    @property
    def sequence(self) -> int:
        """Position in the stream."""

    @property
    def consumer_sequence(self) -> int:
        """Position among the consumer's deliveries."""

    @property
    def attempt(self) -> int:
        """How often the message was delivered, this time included."""

    async def ack(self) -> None:
        """Confirmed ack."""

    async def nak(self, delay_s: float = 0) -> None:
        """Give back."""

    async def term(self, reason: str) -> None:
        """Never again."""

    async def in_progress(self) -> None:
        """Restart the ack wait."""


class ConsumerPort(Protocol):
    """A pull consumer; see `sidecar.deliveries.Consumer`."""

    @property
    def ack_wait_s(self) -> float:
        """How long the server waits for an ack, in seconds."""

    @property
    def held(self) -> Sequence[DeliveryPort]:
        """What was received and not fetched yet."""

    async def fetch(self, batch: int, wait_s: float) -> Sequence[DeliveryPort]:
        """Return some deliveries, or none when the time passed."""

    async def close(self) -> None:
        """Stop receiving; give back what was received and not fetched."""


class QueuePort(Protocol):
    """The publishing side; see `sidecar.queue.Queue`."""

    @property
    def subjects(self) -> Subjects:
        """Builder of subjects."""

    @property
    def max_payload(self) -> int:
        """Bytes that one message may have."""

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str] | None = None
    ) -> Published:
        """Store a message once."""

    def start_publish(
        self, subject: str, data: bytes, message_id: str, headers: Mapping[str, str] | None, answer: Answer
    ) -> None:
        """Send a message to be stored; `answer` hears what comes of it."""

    async def send(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send on core NATS."""
