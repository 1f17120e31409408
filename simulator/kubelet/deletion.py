"""What a pod's status says of its containers once the pod is deleted, by the rules that kubelets have for it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from simulator.kube.kinds import Object
from simulator.kubelet.states import ContainerKind, ContainerRecord, Running, Terminated, Waiting

UNKNOWN_END: Final = Terminated(
    137,
    "ContainerStatusUnknown",
    None,
    message="The container could not be located when the pod was terminated",
)


def first_waiting(spec: Object) -> Waiting:
    """What a container of the pod waits for before the kubelet came to it."""
    return Waiting("PodInitializing" if spec.get("initContainers") else "ContainerCreating")


def at_deletion(record: ContainerRecord, spec: Object) -> ContainerRecord:
    """The record of a container whose pod has just been deleted: what it waited for does not matter any more."""
    if not isinstance(record.state, Waiting):
        return record
    return replace(record, state=record.last or first_waiting(spec))


def while_ending(told: ContainerRecord, present: ContainerRecord) -> ContainerRecord:
    """What is told of a container while its pod ends: whether it is ready, but not yet that, nor how, it ended."""
    if isinstance(told.state, Running) and present.state == told.state:
        return replace(told, ready=present.ready)
    return told


def main_ones_had_their_turn(records: Sequence[ContainerRecord]) -> bool:
    """Whether the main containers were started, or nothing kept them from it any more."""
    inits = [record for record in records if record.kind is not ContainerKind.MAIN]
    if not inits or any(record.begun for record in records if record.kind is ContainerKind.MAIN):
        return True
    last = inits[-1]
    if last.kind is ContainerKind.SIDECAR:
        return last.started and isinstance(last.state, Running)
    return isinstance(last.state, Terminated) and last.state.exit_code == 0


def given_up(records: Sequence[ContainerRecord], *, main_ones_too: bool) -> list[ContainerRecord]:
    """Containers that cannot be asked any more count as failed: init ones up to the last that was begun, at least the
    first, and the main ones if they had their turn.
    """
    inits = [record for record in records if record.kind is not ContainerKind.MAIN]
    begun = max((number for number, record in enumerate(inits, 1) if record.begun), default=1)
    lost = {record.name for record in inits[:begun]}
    if main_ones_too:
        lost |= {record.name for record in records if record.kind is ContainerKind.MAIN}
    return [
        replace(record, state=UNKNOWN_END)
        if record.name in lost and not isinstance(record.state, Terminated)
        else record
        for record in records
    ]
