"""The annotation in which `kubectl apply` keeps what it applied last, for objects that move to server-side apply."""

from typing import Any, Final

import msgspec

from simulator.kube.apply.comparison import compare
from simulator.kube.apply.fields import FieldSet
from simulator.kube.apply.shape import Shape
from simulator.kube.apply.typed import fields_of, problems
from simulator.kube.kinds import Object

ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
LAST_APPLIER: Final = "kubectl"
"""The manager for which the annotation is read and kept up to date."""

MAX_ANNOTATIONS_BYTES: Final = 256 * 1024


def agreed_before(shape: Shape, live: Object) -> FieldSet | None:
    """The fields that were applied last and are still so; None if the object does not tell."""
    try:
        last = msgspec.json.decode(_annotations(live).get(ANNOTATION) or "", type=dict[str, Any])
    except (msgspec.DecodeError, TypeError):
        return None
    if last.get("apiVersion") != live.get("apiVersion") or problems(shape, last):
        return None
    difference = compare(shape, last, live)
    return fields_of(shape, last) - difference.modified - difference.added - difference.removed


def with_last_applied(obj: Object, config: Object) -> Object:
    """The object with the configuration in its annotation, if it has one and there is room for it."""
    if not _annotations(obj).get(ANNOTATION):
        return obj
    others = {name: text for name, text in _annotations(obj).items() if name != ANNOTATION}
    kept = _annotations(config)
    metadata = dict(config.get("metadata") or {})
    if "annotations" in metadata:
        metadata["annotations"] = {name: text for name, text in kept.items() if name != ANNOTATION}
    text = _go_json({**config, "metadata": metadata})
    annotations = {**others, ANNOTATION: text}
    if sum(len(name.encode()) + len(value.encode()) for name, value in annotations.items()) > MAX_ANNOTATIONS_BYTES:
        annotations = others
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def _annotations(obj: Object) -> dict[str, str]:
    metadata = obj.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return annotations if isinstance(annotations, dict) else {}


def _go_json(value: Any) -> str:
    """The value as the real server writes it: names in order, nothing in it that HTML would take for its own."""
    text = msgspec.json.encode(value, order="sorted").decode()
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"{text}\n"
