"""What a pod's status says of one container."""

from simulator.kube.kinds import Object
from simulator.kube.timestamps import format_time
from simulator.kubelet.states import ContainerRecord, Running, State, Terminated, Waiting


def container_status(record: ContainerRecord, spec: Object) -> Object:
    """Return the status of a container; `spec` is its entry in the pod."""
    status: Object = {
        "name": record.name,
        "state": _state(record.state),
        "lastState": _state(record.last) if record.last else {},
        "ready": record.ready,
        "restartCount": record.restarts,
        "image": record.image,
        "imageID": record.image if record.begun and _id_of(record) else "",
        "started": record.started,
    }
    if run := _id_of(record):
        status["containerID"] = _container_id(run)
    return status | _allotted(spec)


def _id_of(record: ContainerRecord) -> str:
    """The latest run of the container, "" if there was none."""
    return _run(record.state) or _run(record.last)


def _run(state: State | None) -> str:
    return state.id if isinstance(state, Running | Terminated) else ""


def _allotted(spec: Object) -> Object:
    """What the container was given of what it asked for."""
    asked = {name: amounts for name in ("limits", "requests") if (amounts := (spec.get("resources") or {}).get(name))}
    mounts = [
        {
            "name": mount["name"],
            "mountPath": mount["mountPath"],
            **({"readOnly": True, "recursiveReadOnly": "Disabled"} if mount.get("readOnly") else {}),
        }
        for mount in spec.get("volumeMounts") or ()
    ]
    allocated = {"allocatedResources": asked["requests"]} if "requests" in asked else {}
    return {**allocated, "resources": asked, **({"volumeMounts": mounts} if mounts else {})}


def _state(state: State) -> Object:
    if isinstance(state, Waiting):
        return {"waiting": {"reason": state.reason, **({"message": state.message} if state.message else {})}}
    if isinstance(state, Running):
        return {"running": {"startedAt": format_time(state.started_at)}}
    ended: Object = {"exitCode": state.exit_code, "reason": state.reason}
    if state.message:
        ended["message"] = state.message
    ended["startedAt"] = format_time(state.started_at) if state.started_at else None
    ended["finishedAt"] = format_time(state.finished_at) if state.finished_at else None
    if state.id:
        ended["containerID"] = _container_id(state.id)
    return {"terminated": ended}


def _container_id(run: str) -> str:
    return f"process://{run}"
