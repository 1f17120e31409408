"""What was recorded of one Deployment on a real cluster: the inputs of the controllers, and what they made of them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from simulator.kube.kinds import Object

GOLDEN = Path(__file__).parents[1] / "kubelet" / "golden"
GONE = "gone"
"""The state of what is deleted."""
_TIMES = ("lastTransitionTime", "lastUpdateTime", "lastProbeTime")


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `input` says who made it: a person, or the kubelet; None for the work of the controllers."""

    t: float
    kind: str
    name: str
    input: Literal["action", "pod status", "pod marked", "pod gone"] | None
    raw: Object
    state: Any = None


def names() -> list[str]:
    """All recordings, by name."""
    return sorted(path.stem for path in GOLDEN.glob("*.jsonl"))


def lines(name: str) -> list[Line]:
    """The lines of a recording that tell of the controllers, or make them act.

    Lines of different watches may be swapped by a moment: one that tells of a ReplicaSet's ready pods what no line has
    said of these comes after the line that says so.
    """
    ready: dict[str, bool] = {}
    ordered: list[Line] = []
    held: list[Line] = []
    for line in _lines(name):
        if line.input == "pod marked":
            ready[line.name] = False
        elif line.input in ("pod status", "pod gone"):
            ready[line.name] = line.input == "pod status" and _counts_as_ready(line.raw)
            ordered += [line, *held]
            held = []
        elif line.kind == "ReplicaSet" and (line.name in {each.name for each in held} or _is_early(line, ready)):
            held.append(line)
        else:
            ordered.append(line)
    return ordered + held


def _is_early(line: Line, ready: Mapping[str, bool]) -> bool:
    known = sum(is_ready for pod, is_ready in ready.items() if pod.startswith(f"{line.name}-"))
    return line.state != GONE and bool(line.state["status"].get("readyReplicas", 0) != known)


def _counts_as_ready(raw: Object) -> bool:
    conditions = raw["status"].get("conditions") or ()
    is_ready = any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)
    return is_ready and "deletionTimestamp" not in raw


def _lines(name: str) -> Iterator[Line]:
    known: dict[tuple[str, str], Object] = {}
    pod_statuses: dict[str, Object] = {}
    for text in (GOLDEN / f"{name}.jsonl").read_text().splitlines():
        raw = json.loads(text)
        kind, t = raw["kind"], raw["t"]
        if kind == "action":
            yield Line(t, kind, "", "action", raw)
        elif kind in ("Deployment", "ReplicaSet"):
            flat = _flat(raw)
            state = known.setdefault((kind, flat["name"]), {})
            state |= {field: value for field, value in flat.items() if field != "name"}
            yield Line(t, kind, flat["name"], None, raw, GONE if raw["type"] == "DELETED" else dict(state))
        elif kind == "Pod":
            flat = _flat(raw)
            yield from _pod_line(t, raw, flat, pod_statuses.get(flat["name"]))
            pod_statuses[flat["name"]] = flat["status"]
        elif kind == "Event" and raw["source"] != "kubelet":
            yield Line(t, kind, f"{raw['object']['kind']} {raw['object']['name']}", None, raw, recorded_event(raw))


def _pod_line(t: float, raw: Object, flat: Object, before: Object | None) -> Iterator[Line]:
    name, status = flat["name"], flat["status"]
    if raw["type"] == "DELETED":
        yield Line(t, "Pod", name, "pod gone", raw)
    elif "startTime" in status:
        if status != before:
            yield Line(t, "Pod", name, "pod status", raw)
        elif "deletionTimestamp" in raw:
            yield Line(t, "Pod", name, "pod marked", raw)
    else:
        yield Line(t, "Pod", name, None, raw, scheduled(status))


def _flat(raw: Object) -> Object:
    """The line in the short form, which the first sight of an object in one of the recordings has not."""
    obj = raw.get("object")
    if obj is None:
        flat = {"name": raw["name"], "status": plain(raw.get("status") or {}), "generation": raw.get("generation")}
        flat |= {"annotations": raw["annotations"]} if "annotations" in raw else {}
        return flat | ({"replicas": raw["spec.replicas"]} if "spec.replicas" in raw else {})
    return {"name": obj["metadata"]["name"], **state_of(obj)}


def state_of(obj: Object) -> Object:
    """What is compared of an object."""
    state = {"status": plain(obj.get("status") or {}), "generation": obj["metadata"].get("generation")}
    if "annotations" in obj["metadata"]:
        state["annotations"] = obj["metadata"]["annotations"]
    if "replicas" in obj.get("spec", {}):
        state["replicas"] = obj["spec"]["replicas"]
    return state


def plain(value: Any) -> Any:
    """The value without times."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if name not in _TIMES}
    return [plain(item) for item in value] if isinstance(value, list) else value


def scheduled(status: Mapping[str, Any]) -> Any:
    """What the scheduler says of a pod."""
    conditions = plain(status.get("conditions") or [])
    return next((entry for entry in conditions if entry["type"] == "PodScheduled"), None)


def recorded_event(raw: Object) -> Object:
    """What is compared of an event."""
    return {
        "first": raw["type"] == "ADDED",
        "type": raw["eventType"],
        "reason": raw["reason"],
        "message": raw["message"],
        "source": raw["source"],
        "count": raw["count"],
    }


def as_written(value: Any, start: datetime) -> Any:
    """The value with real timestamps and addresses in place of `t0+5s` and `ip-1`."""
    if isinstance(value, dict):
        return {name: as_written(item, start) for name, item in value.items()}
    if isinstance(value, list):
        return [as_written(item, start) for item in value]
    if not isinstance(value, str):
        return value
    if match := re.fullmatch(r"t0([+-]\d+)s", value):
        return (start + timedelta(seconds=int(match[1]))).strftime("%Y-%m-%dT%H:%M:%SZ")
    return re.sub(r"^ip-(\d+)$", r"10.0.0.\1", value)
