"""What of an object expressions can see: that about which its schema says something."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from simulator.kube.cel.names import names_of
from simulator.kube.schema.model import Schema

_TEXT = Schema(type="string")
_OF_EVERY_RESOURCE = {
    "apiVersion": _TEXT,
    "kind": _TEXT,
    "metadata": Schema(type="object", properties={"name": _TEXT, "generateName": _TEXT}),
}


def is_seen(schema: Schema) -> bool:
    """Whether expressions see values of the schema at all."""
    if schema.int_or_string:
        return True
    if schema.type == "array":
        return schema.items is not None and is_seen(schema.items)
    if schema.type == "object":
        return schema.additional is None or is_seen(schema.additional)
    return schema.type in ("string", "boolean", "number", "integer")


@lru_cache(maxsize=1024)
def seen_properties(schema: Schema, *, is_resource: bool) -> Mapping[str, tuple[Sequence[str], Schema]]:
    """The properties that expressions see, with their names there; a resource's own metadata is among them."""
    properties = {**schema.properties, **(_OF_EVERY_RESOURCE if is_resource else {})}
    named = ((name, names_of(name), prop) for name, prop in properties.items())
    return MappingProxyType({name: (names, prop) for name, names, prop in named if names and is_seen(prop)})
