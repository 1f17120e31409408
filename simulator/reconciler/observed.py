"""What the Deployment and the pods of a unit say about it (contract 5.3): available, failed, waiting for what."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simulator.kube.kinds import Object
from simulator.reconciler.pod_template import SIDECAR_CONTAINER

_NO_FAILURE = frozenset({"", "ContainerCreating", "PodInitializing"})
_ENDED_PHASES = frozenset({"Failed", "Succeeded"})


@dataclass(frozen=True, slots=True)
class Failure:
    """A container, or a whole pod when `container` is empty, that failed; `cause` is for people to read."""

    pod: str
    container: str
    cause: str

    def __str__(self) -> str:
        where = f"container {self.container} of pod {self.pod}" if self.container else f"pod {self.pod}"
        return f"{where}: {self.cause}"


def available_replicas(deployment: Object | None) -> int:
    """Return the available replicas, 0 while the Deployment's status still tells of an earlier spec."""
    if deployment is None:
        return 0
    status, generation = deployment.get("status") or {}, deployment["metadata"].get("generation", 0)
    if status.get("observedGeneration", generation) < generation:
        return 0
    return int(status.get("availableReplicas") or 0)


def current_pods(pods: Iterable[Object]) -> list[Object]:
    """Return the pods that count, by name: none that is being deleted, and an ended one only if no other is left."""
    kept = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    living = [pod for pod in kept if _phase(pod) not in _ENDED_PHASES]
    return sorted(living or kept, key=lambda pod: str(pod["metadata"]["name"]))


def find_failure(pods: Sequence[Object]) -> Failure | None:
    """Return the first failure: of an init container, of a container, of a pod as a whole."""
    return _first_container_failure(pods, None) or _first_pod_failure(pods)


def find_sidecar_failure(pods: Sequence[Object]) -> Failure | None:
    """Return the first failure of a sidecar container."""
    return _first_container_failure(pods, SIDECAR_CONTAINER)


def _first_container_failure(pods: Sequence[Object], container: str | None) -> Failure | None:
    for pod in pods:
        status = pod.get("status") or {}
        for entry in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            cause = _failure_cause(entry)
            if cause and container in (None, entry["name"]):
                return Failure(pod["metadata"]["name"], entry["name"], cause)
    return None


def _first_pod_failure(pods: Sequence[Object]) -> Failure | None:
    for pod in pods:
        if _phase(pod) == "Failed":
            return Failure(pod["metadata"]["name"], "", _reason_and_message(pod["status"], "Failed"))
    return None


def _failure_cause(entry: Object) -> str:
    """Say why a container failed, "" if it did not."""
    state = entry.get("state") or {}
    waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
    if waiting.get("reason", "") not in _NO_FAILURE:
        return _waiting_cause(waiting, (entry.get("lastState") or {}).get("terminated") or {})
    if terminated.get("exitCode") or terminated.get("signal"):
        return _exit_cause(terminated)
    return ""


def _waiting_cause(waiting: Object, last_exit: Object) -> str:
    if waiting["reason"] == "CrashLoopBackOff" and last_exit.get("message"):
        return f"CrashLoopBackOff: {last_exit['message'].strip()}"
    return _reason_and_message(waiting, "")


def _exit_cause(terminated: Object) -> str:
    signal = terminated.get("signal")
    ended = f"signal {signal}" if signal else f"exit code {terminated['exitCode']}"
    return f"{_reason_and_message(terminated, 'Error')} ({ended})"


def _reason_and_message(state: Object, default_reason: str) -> str:
    parts = (state.get("reason") or default_reason, (state.get("message") or "").strip())
    return ": ".join(part for part in parts if part)


def scheduling_problem(pods: Sequence[Object]) -> str:
    """Return the scheduler's message about the first pod that it could not place, "" if there is none."""
    for pod in pods:
        for condition in (pod.get("status") or {}).get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return str(condition.get("message") or condition.get("reason") or "")
    return ""


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", ""))
