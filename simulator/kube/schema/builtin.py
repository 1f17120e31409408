"""The schemas of the built-in kinds, from a data file of ours that `compile` makes; read when it is first needed."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from simulator.kube.kinds import Kind
from simulator.kube.schema.load import Definitions
from simulator.kube.schema.model import Schema

DATA = Path(__file__).with_name("builtin.json")
GROUP_VERSION_KIND = "x-kubernetes-group-version-kind"


class _Data(msgspec.Struct):
    schemas: dict[str, dict[str, Any]]
    go: dict[str, dict[str, list[str]]]
    registered: dict[str, list[str]]


def builtin_schema(kind: Kind) -> Schema:
    """What the objects of a built-in kind look like.

    Raises:
        KeyError: the data has no such kind.
    """
    return body_schema(kind.group, kind.version, kind.kind)


def body_schema(group: str, version: str, kind: str) -> Schema:
    """What a body of that kind looks like, which need not be one that is stored, such as `Scale`.

    Raises:
        KeyError: the data has no such kind.
    """
    return definitions().schema(definition_names()[group, version, kind])


@cache
def definitions() -> Definitions:
    """All definitions of the data."""
    return Definitions(_data().schemas, _data().go)


@cache
def definition_names() -> Mapping[tuple[str, str, str], str]:
    """The names of the definitions by group, version and kind."""
    return names_of_kinds(definitions().raw)


def is_registered(api_version: str, kind: str) -> bool:
    """Whether the imitated release can read such an object at all, in a version that it serves or in an older one."""
    return kind in _data().registered.get(api_version, ())


def names_of_kinds(raw: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str, str], str]:
    """The names of those OpenAPI definitions that are whole bodies, by group, version and kind."""
    return {
        (entry["group"], entry["version"], entry["kind"]): name
        for name, schema in raw.items()
        for entry in schema.get(GROUP_VERSION_KIND, ())
    }


@cache
def _data() -> _Data:
    return msgspec.json.decode(DATA.read_bytes(), type=_Data)
