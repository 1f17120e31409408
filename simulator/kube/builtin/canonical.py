"""The one form in which the API stores each value of a built-in kind.

The real server holds an object in typed structures and writes it out from there: a field that is empty is gone, one
that is never empty is there though nobody set it, amounts and times are written in one way. Clients rely on it: what
`kubectl apply` sent is compared with what is stored.
"""

from typing import Any

from simulator.kube.builtin.encoded import decoded, encoded
from simulator.kube.builtin.quantities import QuantityError, parse_quantity
from simulator.kube.builtin.times import MICROSECONDS, SECONDS, TimeError, canonical_time
from simulator.kube.kinds import Kind, Object
from simulator.kube.schema.builtin import builtin_schema, definitions
from simulator.kube.schema.go_base64 import Base64Error
from simulator.kube.schema.model import Schema
from simulator.kube.status import bad_request

_TIMES = {"v1.Time": SECONDS, "v1.MicroTime": MICROSECONDS}
_JSON_SCHEMA = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
_JSON_SCHEMA_OR = ("v1.JSONSchemaPropsOrArray", "v1.JSONSchemaPropsOrBool")
"""What the published schemas leave open: an object is a JSON schema there."""


def canonical(kind: Kind, obj: Object) -> Object:
    """The object as the real server would write it; fields that its schema does not have are left out.

    Raises:
        ApiFailure: 400; an amount, a point in time or bytes cannot be read.
    """
    try:
        return canonical_value(builtin_schema(kind), obj)
    except (Base64Error, QuantityError, TimeError) as error:
        raise bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {error}'
        ) from error


def canonical_value(schema: Schema, value: Object) -> Object:
    """The same for a part of an object, such as its metadata.

    Raises:
        ValueError: an amount, a point in time or bytes cannot be read.
    """
    return _object(schema, value)


def drops_empty(sent: Any, kept: Any) -> bool:
    """Whether an empty list or map in what was sent is gone from its canonical form."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        return any(
            drops_empty(item, kept[name]) if name in kept else item == [] or item == {} for name, item in sent.items()
        )
    if isinstance(sent, list) and isinstance(kept, list):
        return any(drops_empty(*pair) for pair in zip(sent, kept, strict=False))
    return False


def _value(schema: Schema, value: Any) -> Any:
    if value is None:
        return _zero(schema)
    if isinstance(value, dict):
        return _struct_or_map(schema, value)
    if isinstance(value, list):
        return [_value(schema.items, item) for item in value] if schema.items is not None else value
    if schema.format == "quantity":
        return str(parse_quantity(str(value)))
    if schema.format == "date-time" and schema.go is not None:
        return canonical_time(value, _TIMES.get(schema.go.type, SECONDS))
    if schema.format == "byte":
        return encoded(decoded(value))
    return value


def _struct_or_map(schema: Schema, value: Object) -> Object:
    if schema.go is not None and schema.go.type in _JSON_SCHEMA_OR:
        return _object(definitions().schema(_JSON_SCHEMA), value)
    if schema.properties:
        return _object(schema, value)
    if schema.additional is None:
        return value
    if schema.additional.format == "byte":
        return {name: encoded(decoded(value[name] or "")) for name in sorted(value)}
    return {name: _value(schema.additional, value[name]) for name in sorted(value)}


def _object(schema: Schema, obj: Object) -> Object:
    result = {}
    for name, field in schema.properties.items():
        value = obj.get(name)
        go = field.go
        if value is None:
            if go is not None and not go.omit_empty:
                result[name] = None if go.pointer else _zero(field)
            continue
        value = _value(field, value)
        if value == [] and go is not None and not go.omit_empty:
            value = None  # what the real server stores does not tell an empty list from none
        if go is None or go.pointer or not go.omit_empty or value not in (None, "", 0, False, [], {}):
            result[name] = value
    return result


def _zero(schema: Schema) -> Any:
    """What the real server writes for a value that nobody set, where it writes one at all."""
    if schema.format == "quantity":
        return "0"
    if schema.format == "int-or-string" or schema.type in ("integer", "number"):
        return 0
    if schema.type == "boolean":
        return False
    if schema.type == "string":
        return None if schema.format in ("date-time", "byte") else ""
    return _object(schema, {}) if schema.properties else None
