"""Whether a worker's sidecar still is the one that registered, as its pods show it. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from simulator.gpuunit import SIDECAR_CONTAINER
from simulator.kube.kinds import Object

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


def is_terminating(pods: Sequence[Object]) -> bool:
    """Whether every pod of a worker is being ended: its sidecar drains, and takes nothing new."""
    return bool(pods) and all(pod["metadata"].get("deletionTimestamp") for pod in pods)


def has_ended(pods: Sequence[Object], registered_at: datetime | None) -> bool:
    """Whether the sidecar that registered at a time, on the clock of its node, is known to have ended.

    Kubernetes gives times in whole seconds, so a sidecar that ended in the second of its registration is not recognised
    here, but when its successor registers.
    """
    states = [_sidecar(pod) for pod in pods]
    running = [status["state"]["running"] for status in states if "running" in (status.get("state") or {})]
    if not running:
        return True
    if registered_at is None:
        return False
    return all(_time(state.get("startedAt")) > registered_at for state in running)


def _sidecar(pod: Object) -> Object:
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or ()
    return next((status for status in statuses if status["name"] == SIDECAR_CONTAINER), {})


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else _NEVER
