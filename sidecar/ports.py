"""What the dispatch loop needs of a queue; `sidecar.queue` has it, and so has the tests' stand-in."""

from collections.abc import Sequence
from typing import Protocol

from sidecar.queue import Published
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

    async def publish(self, subject: str, data: bytes, *, message_id: str) -> Published:
        """Store a message once."""

    async def send(self, subject: str, data: bytes) -> None:
        """Send on core NATS."""
