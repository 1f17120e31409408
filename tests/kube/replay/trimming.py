"""What the recorder left out of the bodies, left out of ours too, so that the two can be compared."""

import json
import re
from typing import Any

from simulator.kube.kinds import GPUUNIT, Object

_LONG = 1024 * 1024


def comparable(recorded: Object, answered: Object) -> tuple[Object, Object]:
    """Both bodies, cut to what the recording kept of its own."""
    if recorded.keys() == {"kind"}:
        return recorded, {"kind": answered.get("kind")}
    if recorded.get("reason") == answered.get("reason") and recorded.get("reason") in ("Invalid", "Conflict"):
        return _in_one_order(recorded), _in_one_order(answered)
    recorded, answered = _with_managers_in_order(recorded), _with_managers_in_order(answered)
    if "trimmed" not in recorded:
        return recorded, answered
    trimmed = recorded["trimmed"]
    kept = {name: value for name, value in recorded.items() if name != "trimmed"}
    if trimmed == "items to names":
        names = [item.get("metadata", {}).get("name") for item in answered.get("items") or []]
        answered = {**answered, "items": names}
    if trimmed.startswith(("only ", "groups left out", "most paths")):
        answered = _selected(kept, answered)
    if "schemas left out" in trimmed:
        return _schemas(kept), _selected(_schemas(kept), _schemas(answered))
    cut = {name: value for name, value in answered.items() if name in kept}
    for name in {"metadata", *trimmed.split(", ")} & cut.keys() & kept.keys():
        if isinstance(kept[name], dict) and isinstance(cut[name], dict):
            cut[name] = {field: cut[name].get(field) for field in kept[name]}
        elif isinstance(kept[name], list):
            cut[name] = cut[name][: len(kept[name])]
    return kept, cut


def of_namespace(listed: Object, namespace: str) -> Object:
    """A list of all namespaces, cut to one: what other cases left behind in theirs is not there in a replay."""
    if "trimmed" in listed or "items" not in listed:
        return listed
    items = [item for item in listed["items"] if item["metadata"].get("namespace", namespace) == namespace]
    return {**listed, "items": items}


def grown(body: Any, path: str) -> Any:
    """The body that the recording only tells the size of, as `(N bytes of JSON)`.

    One that is longer than annotations may be, and was not refused for that, had it in its spec.
    """
    size = re.fullmatch(r"\((\d+) bytes of JSON\)", body) if isinstance(body, str) else None
    if size is None:
        return body
    if path.endswith("/configmaps"):
        filled: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c1"}, "data": {"a": "%"}}
    else:
        spec: Object = {"specName": "s1", "gpu": 1}
        metadata: Object = {"name": "u1"}
        filled = {"apiVersion": GPUUNIT.api_version, "kind": GPUUNIT.kind, "metadata": metadata, "spec": spec}
        if int(size[1]) > _LONG:
            spec["image"] = "%"
        else:
            metadata["annotations"] = {"a": "%"}
    text = json.dumps(filled)
    return text.replace("%", "x" * (int(size[1]) - len(text) + 1))


def _in_one_order(status: Object) -> Object:
    """A Status whose causes are in an order that does not depend on a map of the real server."""
    causes = (status.get("details") or {}).get("causes") or []
    if len(causes) < 2:
        return status
    ordered = sorted(causes, key=lambda cause: (cause["field"], cause["message"]))
    message = status["message"]
    for cause in ordered:
        text = f"{cause['field']}: {cause['message']}"
        message = message.replace(f"{text}, ", "").replace(text, "")
    return {**status, "message": message, "details": {**status["details"], "causes": ordered}}


def _with_managers_in_order(obj: Object) -> Object:
    """An object whose managers are in an order that does not depend on the second in which each wrote."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("managedFields"):
        return obj
    names = ("operation", "manager", "subresource", "apiVersion", "time")
    ordered = sorted(metadata["managedFields"], key=lambda entry: [entry.get(name, "") for name in names])
    return {**obj, "metadata": {**metadata, "managedFields": ordered}}


def _selected(recorded: Any, answered: Any) -> Any:
    """The answer with those entries of its lists and maps of named things that the recording has too."""
    if isinstance(recorded, list) and isinstance(answered, list):
        named = {_name_of(entry): entry for entry in recorded if isinstance(entry, dict)}
        if len(named) != len(recorded):
            return answered
        return [_selected(named[_name_of(entry)], entry) for entry in answered if _name_of(entry) in named]
    if isinstance(recorded, dict) and isinstance(answered, dict):
        return {name: _selected(recorded.get(name), value) for name, value in answered.items() if name in recorded}
    return answered


def _schemas(document: Object) -> Object:
    """The part of an OpenAPI document that the recording kept whole."""
    return {"components": document["components"], "info": document["info"], "openapi": document["openapi"]}


def _name_of(entry: Object) -> str:
    named = entry.get("name") or entry.get("resource") or entry.get("version") or entry.get("subresource")
    return str(named or entry.get("metadata", {}).get("name", ""))
