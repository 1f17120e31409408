"""Lists that are sets or maps: which items must differ, and which item of a former list is which of the new one."""

import json
from collections.abc import Iterator
from typing import Any

from simulator.kube.go_text import go_shown
from simulator.kube.kinds import Object
from simulator.kube.schema.model import Schema
from simulator.kube.status import Cause, invalid_value


def list_causes(schema: Schema, obj: Object) -> list[Cause]:
    """What is wrong with lists whose items must differ, anywhere in an object."""
    return list(_causes(schema, obj, ""))


def correlated(schema: Schema, new: list[Any], old: Any, absent: Any) -> Iterator[tuple[Any, Any]]:
    """Each item with what it was before; `absent` where that cannot be said."""
    by_key = {}
    if schema.list_type == "map" and isinstance(old, list):
        by_key = {key_of(schema, item): item for item in old if isinstance(item, dict)}
    for item in new:
        yield item, by_key.get(key_of(schema, item), absent) if isinstance(item, dict) else absent


def key_of(schema: Schema, item: Any) -> str:
    """What tells an item of a set or of a map from the others."""
    return _text(_key(schema, item) if schema.list_type == "map" and isinstance(item, dict) else item)


def _causes(schema: Schema, value: Any, path: str) -> Iterator[Cause]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name in schema.properties:
                yield from _causes(schema.properties[name], item, f"{path}.{name}" if path else name)
            elif schema.additional is not None:
                yield from _causes(schema.additional, item, f"{path}[{name}]")
    elif isinstance(value, list):
        yield from _list_causes(schema, value, path)
        if schema.items is not None:
            for index, item in enumerate(value):
                yield from _causes(schema.items, item, f"{path}[{index}]")


def _list_causes(schema: Schema, value: list[Any], path: str) -> Iterator[Cause]:
    keys = value
    if schema.list_type == "map":
        for index, item in enumerate(value):
            if not isinstance(item, dict | None):
                problem = "must be an object for an array of list-type map"
                yield invalid_value(f"{path}[{index}]", go_shown(item, in_order=True), problem)
                return
        keys = [_key(schema, item or {}) for item in value]
    elif schema.list_type != "set":
        return
    seen: dict[str, int] = {}
    for index, key in enumerate(keys):
        times = seen[_text(key)] = seen.get(_text(key), 0) + 1
        if times == 2:
            yield Cause("FieldValueDuplicate", f"Duplicate value: {go_shown(key, in_order=True)}", f"{path}[{index}]")


def _key(schema: Schema, item: Object) -> Object:
    return {name: item[name] for name in schema.list_map_keys if name in item}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
