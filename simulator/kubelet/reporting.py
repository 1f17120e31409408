"""What is told of one container: its record, for the pod's status, and Events."""

from dataclasses import replace
from typing import Any, Protocol

from simulator.kubelet.context import PodContext
from simulator.kubelet.events import EventType
from simulator.kubelet.states import ContainerKind, ContainerRecord, Terminated, Waiting


class Publication(Protocol):
    """Where changes of a pod's status go."""

    def changed(self) -> None:
        """Something is different; it will be told soon."""

    async def written(self) -> None:
        """Wait until what was changed before is told."""


class Reporter:
    """The present record of a container. A cluster tells each step, so those that matter are shown before the next."""

    def __init__(self, context: PodContext, record: ContainerRecord, publication: Publication) -> None:
        self.record = record
        self._context = context
        self._publication = publication

    def set(self, **changes: Any) -> None:
        """Change the record; whoever watches the pod sees it soon, if nothing else comes first."""
        changed = replace(self.record, **changes)
        if changed != self.record:
            self.record = changed
            self._publication.changed()

    async def show(self, **changes: Any) -> None:
        """Change the record, and go on when the API has it."""
        self.set(**changes)
        await self._publication.written()

    async def show_waiting(self, waiting: Waiting) -> None:
        """Show why the container does not run; how it ended before, if it did, is its last state then."""
        ended = self.record.state
        last = ended if isinstance(ended, Terminated) else self.record.last
        await self.show(state=waiting, last=last, started=False, ready=False)

    def emit(self, reason: str, message: str, kind: EventType = "Normal") -> None:
        """Record an event about the container."""
        self._context.emit_for(self.record.name, self.record.kind, reason, message, kind)

    @property
    def kind(self) -> ContainerKind:
        """How the container is treated."""
        return self.record.kind
