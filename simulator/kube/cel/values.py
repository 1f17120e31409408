"""The values that an expression works on, made of JSON by what the schema says of it."""

import base64
import re
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from simulator.kube.cel.exposure import seen_properties
from simulator.kube.schema.list_rules import key_of
from simulator.kube.schema.model import Schema

_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "d": 86400.0}
_DURATION = re.compile(r"([+-]?)((?:\d+(?:\.\d*)?(?:ns|us|µs|ms|[hmsd]))+)")


def cel_value(schema: Schema, value: Any, *, is_resource: bool = False) -> Any:
    """The value as the library takes it; what expressions do not see is left out."""
    if value is None or schema.int_or_string:
        return value
    if isinstance(value, dict):
        return _of_object(schema, value, is_resource=is_resource)
    if isinstance(value, list):
        items = schema.items
        return [cel_value(items, item, is_resource=items.embedded) for item in value] if items is not None else value
    if isinstance(value, str):
        return _of_text(schema.format, value)
    return float(value) if schema.type == "number" else value


def in_order_of(schema: Schema, old: Any, new: Any) -> Any:
    """A former value with the items of sets and maps in the order of the new ones, as their order means nothing."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {name: _paired(schema.property(name), item, new.get(name)) for name, item in old.items()}
    if isinstance(old, list) and isinstance(new, list) and schema.list_type in ("set", "map"):
        return _reordered(schema, old, new)
    return old


def _paired(schema: Schema | None, old: Any, new: Any) -> Any:
    return old if schema is None else in_order_of(schema, old, new)


def _reordered(schema: Schema, old: list[Any], new: list[Any]) -> list[Any]:
    former = {key_of(schema, item): item for item in old}
    order = {key_of(schema, item): item for item in new}
    kept = [key for key in order if key in former]
    items = schema.items or Schema()
    return [
        *(in_order_of(items, former[key], order[key]) for key in kept),
        *(item for key, item in former.items() if key not in order),
    ]


def _of_object(schema: Schema, value: dict[str, Any], *, is_resource: bool) -> dict[str, Any]:
    of_value = schema.additional
    if of_value is not None:
        return {name: cel_value(of_value, item, is_resource=of_value.embedded) for name, item in value.items()}
    properties = seen_properties(schema, is_resource=is_resource)
    seen: dict[str, Any] = {}
    for name, item in value.items():
        if name in properties:
            names, prop = properties[name]
            seen |= dict.fromkeys(names, cel_value(prop, item, is_resource=prop.embedded))
    return seen


def _of_text(format_name: str, value: str) -> Any:
    match format_name:
        case "byte":
            return base64.b64decode(value)
        case "date":
            return _timestamp(f"{value}T00:00:00Z")
        case "date-time":
            return _timestamp(value)
        case "duration":
            return _duration(value)
    return value


def _timestamp(text: str) -> Any:
    moment = Timestamp()
    try:
        moment.FromJsonString(text.upper())
    except ValueError:
        return text
    return moment


def _duration(text: str) -> Any:
    match = _DURATION.fullmatch(text)
    if match is None:
        return text
    amounts = re.findall(r"([\d.]+)([a-zµ]+)", match[2])
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in amounts)
    duration = Duration()
    try:
        duration.FromTimedelta(timedelta(seconds=-seconds if match[1] == "-" else seconds))
    except OverflowError:
        return text
    return duration
