"""The defaults that the schema of a CustomResourceDefinition gives."""

import copy
from typing import Any

from simulator.kube.kinds import Object
from simulator.kube.schema.model import NO_DEFAULT, Schema


def with_defaults(schema: Schema, obj: Object) -> Object:
    """The object with the defaults for what it does not have, or has null where null is no value.

    The argument is not changed; the result shares with it what has no defaults in it.
    """
    filled = _filled(schema, obj)
    return filled if isinstance(filled, dict) else obj


def _filled(schema: Schema, value: Any) -> Any:
    if isinstance(value, dict):
        return _filled_object(schema, value)
    if isinstance(value, list) and schema.items is not None:
        items = schema.items
        return [_filled(items, _standing_in(items, item)) for item in value]
    return value


def _filled_object(schema: Schema, value: Object) -> Object:
    missing = {
        name: copy.deepcopy(field.default)
        for name, field in schema.properties.items()
        if _has_default(field) and name not in value
    }
    result = {}
    for name, item in [*value.items(), *missing.items()]:
        field = schema.property(name)
        result[name] = item if field is None else _filled(field, _standing_in(field, item))
    return result


def _standing_in(schema: Schema, value: Any) -> Any:
    """The default in the place of a null that is no value."""
    if value is None and not schema.nullable and _has_default(schema):
        return copy.deepcopy(schema.default)
    return value


def _has_default(schema: Schema) -> bool:
    return schema.default is not NO_DEFAULT and schema.default is not None
