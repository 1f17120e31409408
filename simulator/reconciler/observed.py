"""What the Deployment and the pods of a unit say about it (contract 5.3): available, failed, kept from starting."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simulator.gpuunit import SIDECAR_CONTAINER
from simulator.kube.conditions import condition_of, true_condition_of
from simulator.kube.kinds import Object

_NO_FAILURE = frozenset({"", "ContainerCreating", "PodInitializing"})
_ENDED_PHASES = frozenset({"Failed", "Succeeded"})


@dataclass(frozen=True, slots=True)
class Failure:
    """A container, or a whole pod when `container` is empty, that failed: the pod's own reason, and text for people."""

    pod: str
    container: str
    reason: str
    cause: str

    def __str__(self) -> str:
        where = f"container {self.container} of pod {self.pod}" if self.container else f"pod {self.pod}"
        return f"{where}: {self.cause}"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a pod from being made or placed: `pod` is empty when there is none; reason and message are quoted."""

    pod: str
    reason: str
    message: str

    def __str__(self) -> str:
        where = f"pod {self.pod}" if self.pod else ""
        return ": ".join(part for part in (where, self.reason, self.message) if part)


def available_replicas(deployment: Object | None, pods: Sequence[Object]) -> int:
    """Return how many pods are available: so says the Deployment, and the pods themselves are ready (C1).

    A pod is ready when all its containers are: the sidecar among them is when it has registered and the framework is
    healthy. Of a Deployment whose status still tells of an earlier spec nothing is believed.
    """
    if deployment is None:
        return 0
    status, generation = deployment.get("status") or {}, deployment["metadata"].get("generation", 0)
    if status.get("observedGeneration", generation) < generation:
        return 0
    return min(
        int(status.get("availableReplicas") or 0), sum(true_condition_of(pod, "Ready") is not None for pod in pods)
    )


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


def find_obstacle(deployment: Object | None, pods: Sequence[Object]) -> Obstacle | None:
    """Return why the scheduler cannot place a pod, or why none can be made; None when all goes on."""
    for pod in pods:
        placed = condition_of(pod, "PodScheduled")
        if placed is not None and placed["status"] == "False":
            return Obstacle(pod["metadata"]["name"], placed.get("reason") or "", placed.get("message") or "")
    refused = condition_of(deployment, "ReplicaFailure") if deployment is not None and not pods else None
    if refused is not None and refused["status"] == "True":
        return Obstacle("", refused.get("reason") or "", refused.get("message") or "")
    return None


def only_sidecar_unready(pods: Sequence[Object]) -> bool:
    """Whether a pod's containers all run, and the sidecar alone is not ready."""
    return any(_unready(pod) == [SIDECAR_CONTAINER] for pod in pods)


def _unready(pod: Object) -> list[str]:
    entries = _container_statuses(pod)
    if not entries or not all("running" in (entry.get("state") or {}) for entry in entries):
        return []
    return [entry["name"] for entry in entries if not entry.get("ready")]


def _container_statuses(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _first_container_failure(pods: Sequence[Object], container: str | None) -> Failure | None:
    for pod in pods:
        for entry in _container_statuses(pod):
            found = _failure_of(entry)
            if found and container in (None, entry["name"]):
                return Failure(pod["metadata"]["name"], entry["name"], *found)
    return None


def _first_pod_failure(pods: Sequence[Object]) -> Failure | None:
    for pod in pods:
        if _phase(pod) == "Failed":
            reason = pod["status"].get("reason") or "Failed"
            return Failure(pod["metadata"]["name"], "", reason, _reason_and_message(pod["status"], "Failed"))
    return None


def _failure_of(entry: Object) -> tuple[str, str] | None:
    """Say why a container failed: reason and cause."""
    state = entry.get("state") or {}
    waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
    if waiting.get("reason", "") not in _NO_FAILURE:
        last_exit = (entry.get("lastState") or {}).get("terminated") or {}
        return waiting["reason"], _waiting_cause(waiting, last_exit)
    if terminated.get("exitCode") or terminated.get("signal"):
        return terminated.get("reason") or "Error", _exit_cause(terminated)
    return None


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


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", ""))
