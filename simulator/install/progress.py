"""Whether what was applied runs, as its status says; pure."""

from typing import Final

from simulator.install.names import LOCAL_IMAGES
from simulator.kube.kinds import Object

NOT_PULLED: Final = frozenset({"ErrImagePull", "ImagePullBackOff"})
HOPELESS: Final = frozenset({"ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError"})
"""These and `NOT_PULLED` are why a container waits that rarely starts by waiting longer: a word about it helps."""


def unready(obj: Object) -> str:
    """What a Deployment, StatefulSet or CustomResourceDefinition still lacks; empty when it is there.

    Of other kinds there is nothing to wait for.
    """
    status, spec = obj.get("status") or {}, obj.get("spec") or {}
    match obj["kind"]:
        case "Deployment":
            return _missing(
                obj, spec.get("replicas", 1), status.get("updatedReplicas"), status.get("availableReplicas")
            )
        case "StatefulSet":
            updated = status.get("updatedReplicas", status.get("readyReplicas"))
            return _missing(obj, spec.get("replicas", 1), updated, status.get("readyReplicas"))
        case "CustomResourceDefinition":
            conditions = status.get("conditions") or []
            up = any(each.get("type") == "Established" and each.get("status") == "True" for each in conditions)
            return "" if up else "not established"
        case _:
            return ""


def _missing(obj: Object, wanted: int, updated: int | None, ready: int | None) -> str:
    if (obj.get("status") or {}).get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return "not looked at yet"
    there = min(updated or 0, ready or 0)
    return "" if there >= wanted else f"{there} of {wanted} ready"


def obstacles(pods: list[Object]) -> dict[str, str]:
    """For each pod that cannot go on, by name: what keeps it."""
    found = {}
    for pod in pods:
        if text := _obstacle(pod):
            found[pod["metadata"]["name"]] = text
    return found


def _obstacle(pod: Object) -> str:
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        ended = (container.get("lastState") or {}).get("terminated") or {}
        if waiting.get("reason") == "CrashLoopBackOff":
            said = " ".join((ended.get("message") or "").split()[-30:])
            return f"{container['name']} ended with code {ended.get('exitCode')}{f': {said}' if said else ''}"
        if waiting.get("reason") in NOT_PULLED:
            return f"{container['name']}: {_not_pulled(container['image'], waiting.get('message') or '')}"
        if waiting.get("reason") in HOPELESS:
            return f"{container['name']}: {waiting['reason']}: {waiting.get('message') or container.get('image')}"
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return f"no node for it: {condition.get('message')}"
    return ""


def _not_pulled(image: str, message: str) -> str:
    """A kubelet says it twice in other words; how both messages end is why."""
    why = ": ".join(message.split(": ")[-3:])
    hint = "; no registry has it: build it, and load it into the nodes" if image.startswith(LOCAL_IMAGES) else ""
    return f"cannot pull {image}{f' ({why})' if why else ''}{hint}"
