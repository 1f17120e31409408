"""The phase of a pod, by the rule that kubelets have for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.kubelet.states import ContainerKind, ContainerRecord, Running, Terminated, Waiting


@dataclass(slots=True)
class _Counts:
    pending_inits: int = 0
    failed_inits: int = 0
    pending_sidecars: int = 0
    running: int = 0
    waiting: int = 0
    stopped: int = 0
    succeeded: int = 0


def pod_phase(records: Sequence[ContainerRecord], restart_policy: str, *, ended: bool) -> str:
    """Return the phase; `ended`: no container is started any more, whatever the policy says."""
    counts = _count(records)
    if counts.failed_inits and restart_policy == "Never":
        return "Failed"
    if counts.pending_inits or (counts.pending_sidecars and not initialized(records)):
        return "Pending"
    if counts.waiting:
        return "Pending"
    if counts.running:
        return "Running"
    if not counts.stopped:
        return "Pending"
    if not ended and restart_policy == "Always":
        return "Running"
    if counts.stopped == counts.succeeded:
        return "Succeeded"
    return "Running" if not ended and restart_policy == "OnFailure" else "Failed"


def initialized(records: Sequence[ContainerRecord]) -> bool:
    """Whether the main containers had their turn, or nothing keeps them from it."""
    if any(record.begun for record in records if record.kind is ContainerKind.MAIN):
        return True
    inits = [record for record in records if record.kind is not ContainerKind.MAIN]
    if not inits:
        return True
    last = inits[-1]
    if last.kind is ContainerKind.SIDECAR:
        return last.started or isinstance(last.state, Terminated) or last.last is not None
    return isinstance(last.state, Terminated) and last.state.exit_code == 0


def _count(records: Sequence[ContainerRecord]) -> _Counts:
    counts = _Counts()
    for record in records:
        match record.kind:
            case ContainerKind.INIT:
                _count_init(counts, record)
            case ContainerKind.SIDECAR:
                _count_sidecar(counts, record)
            case ContainerKind.MAIN:
                _count_main(counts, record)
    return counts


def _count_init(counts: _Counts, record: ContainerRecord) -> None:
    ended = record.state if isinstance(record.state, Terminated) else record.last
    if isinstance(record.state, Running) or ended is None:
        counts.pending_inits += 1
    elif ended.exit_code != 0:
        counts.failed_inits += 1


def _count_sidecar(counts: _Counts, record: ContainerRecord) -> None:
    if isinstance(record.state, Running):
        counts.running += 1
        counts.pending_sidecars += not record.started
    elif isinstance(record.state, Waiting) and record.last is None:
        counts.pending_sidecars += 1
        counts.waiting += 1


def _count_main(counts: _Counts, record: ContainerRecord) -> None:
    if isinstance(record.state, Running):
        counts.running += 1
    elif isinstance(record.state, Terminated):
        counts.stopped += 1
        counts.succeeded += record.state.exit_code == 0
    elif record.last is not None:
        counts.stopped += 1
    else:
        counts.waiting += 1
