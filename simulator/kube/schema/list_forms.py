"""What a schema may say of how its lists and maps are merged."""

from collections.abc import Iterator
from typing import Any

from simulator.kube.builtin.causes import invalid, unsupported
from simulator.kube.schema.load import Raw
from simulator.kube.status import Cause, forbidden_value, required

_MAP_TYPE, _LIST_TYPE, _KEYS = "x-kubernetes-map-type", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"
_OF_TYPE = {_MAP_TYPE: "object", _LIST_TYPE: "array"}
_VALUES = {_MAP_TYPE: ("atomic", "granular"), _LIST_TYPE: ("atomic", "set", "map")}


def list_form_causes(schema: Raw, path: str) -> Iterator[Cause]:
    """What is wrong with the list and map types of a schema that stands at `path`."""
    for name, values in _VALUES.items():
        value, type_name = schema.get(name), schema.get("type") or ""
        if value is None:
            continue
        if type_name != _OF_TYPE[name]:
            problem = f"must be {_OF_TYPE[name]} if {name} is specified"
            wrong = invalid(f"{path}.type", type_name, problem)
            yield wrong if type_name else required(f"{path}.type", problem)
        if value not in values:
            yield unsupported(f"{path}.{name}", value, values)
    items = schema.get("items")
    yield from _key_causes(schema, path)
    if isinstance(items, dict) and schema.get(_LIST_TYPE) in ("set", "map"):
        yield from _item_causes(schema, items, path)


def _key_causes(schema: Raw, path: str) -> Iterator[Cause]:
    keys, list_type = schema.get(_KEYS) or [], schema.get(_LIST_TYPE)
    if keys and list_type != "map":
        problem = f"must be map if {_KEYS} is non-empty"
        at = f"{path}.{_LIST_TYPE}"
        yield required(at, problem) if list_type is None else invalid(at, list_type, problem)
    if list_type != "map":
        return
    if not keys:
        yield required(f"{path}.{_KEYS}", f"must not be empty if {_LIST_TYPE} is map")
    if schema.get("items") is None:
        yield required(f"{path}.items", f"must have a schema if {_LIST_TYPE} is map")
    elif schema["items"].get("type") != "object":
        problem = f"must be object if parent array's {_LIST_TYPE} is map"
        yield invalid(f"{path}.items.type", schema["items"].get("type") or "", problem)
    else:
        yield from _key_property_causes(keys, schema["items"].get("properties") or {}, path)


def _key_property_causes(keys: list[str], properties: dict[str, Any], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for key in keys:
        if key not in properties:
            yield invalid(f"{path}.{_KEYS}", keys, "entries must all be names of item properties")
        elif properties[key].get("type") in ("array", "object"):
            problem = f"must be a scalar type if parent array's {_LIST_TYPE} is map"
            yield invalid(f"{path}.items.properties[{key}].type", "object", problem)
        if key in seen:
            yield invalid(f"{path}.{_KEYS}", keys, "must not contain duplicate entries")
        seen.add(key)


def _item_causes(schema: Raw, items: Raw, path: str) -> Iterator[Cause]:
    list_type, inner = schema[_LIST_TYPE], items.get("type")
    if items.get("nullable"):
        yield forbidden_value(f"{path}.items.nullable", f"cannot be nullable when {_LIST_TYPE} is {list_type}")
    if list_type == "map":
        yield from _required_key_causes(schema.get(_KEYS) or [], items, path)
        return
    problem = f"must be atomic as item of a list with {_LIST_TYPE}=set"
    if inner == "array" and (items.get(_LIST_TYPE) or "atomic") != "atomic":
        yield invalid(f"{path}.items.{_LIST_TYPE}", items[_LIST_TYPE], problem)
    if inner == "object" and items.get(_MAP_TYPE) != "atomic":
        yield invalid(f"{path}.items.{_MAP_TYPE}", None, problem)


def _required_key_causes(keys: list[str], items: Raw, path: str) -> Iterator[Cause]:
    properties = items.get("properties") or {}
    for key in (key for key in keys if key in properties):
        at = f"{path}.items.properties[{key}]"
        if key not in (items.get("required") or ()) and properties[key].get("default") is None:
            problem = f"this property is in {_KEYS}, so it must have a default or be a required property"
            yield required(f"{at}.default", problem)
        if properties[key].get("nullable"):
            yield forbidden_value(f"{at}.nullable", f"this property is in {_KEYS}, so it cannot be nullable")
