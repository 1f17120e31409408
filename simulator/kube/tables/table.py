"""Objects as a Table or as their metadata alone (`meta.k8s.io`). Pure functions of objects."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Literal

import msgspec

from simulator.kube.kinds import Kind, Object
from simulator.kube.negotiation import META_GROUP
from simulator.kube.registry import Column
from simulator.kube.status import bad_request
from simulator.kube.strategy import metadata_in_order
from simulator.kube.tables.ages import UNKNOWN, age
from simulator.kube.tables.cells import CELLS
from simulator.kube.tables.json_path import MalformedPathError, find_all

Include = Literal["Metadata", "None", "Object"]
"""What a row holds of its object besides its cells."""

_OVERFLOW = 2**63
"""A number as great as that, or greater, becomes the least 64-bit one."""
_META_V1 = f"{META_GROUP}/v1"


def include_parameter(query: Mapping[str, str]) -> Include:
    """What the rows are to hold (400 for a word that is not known)."""
    match query.get("includeObject", ""):
        case "" | "Metadata":
            return "Metadata"
        case "None":
            return "None"
        case "Object":
            return "Object"
    raise bad_request(
        f'Unable to convert to Table as requested: includeObject: Invalid value: "{query["includeObject"]}": '
        "must be 'Metadata', 'Object', 'None', or empty"
    )


def table(
    kind: Kind,
    objects: Iterable[Object],
    metadata: Object,
    now: datetime,
    *,
    include: Include = "Metadata",
    columns: Sequence[Column] = (),
    headers: bool = True,
    api_version: str = _META_V1,
) -> Object:
    """A Table of the objects.

    `metadata` is that of the list, or the `resourceVersion` of the one object; `columns` are those of a
    CustomResourceDefinition; without `headers` the columns are not described.
    """
    rows = [
        {"cells": cells(kind, obj, now, columns), "object": _included(obj, include, api_version)} for obj in objects
    ]
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": metadata,
        "columnDefinitions": column_definitions(kind, tuple(columns)) if headers else None,
        "rows": rows if rows or kind.custom or kind in CELLS else None,
    }


def partial(obj: Object, api_version: str = _META_V1) -> Object:
    """The object's metadata alone (PartialObjectMetadata)."""
    metadata = metadata_in_order(obj["metadata"])
    return {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": metadata}


def partial_list(objects: Iterable[Object], metadata: Object, api_version: str = _META_V1) -> Object:
    """The metadata of the objects of a list (PartialObjectMetadataList)."""
    items = [partial(obj, api_version) for obj in objects]
    return {"kind": "PartialObjectMetadataList", "apiVersion": api_version, "metadata": metadata} | {
        "items": items or None
    }


@cache
def column_definitions(kind: Kind, columns: tuple[Column, ...] = ()) -> list[Object]:
    """The columns of a kind's table; `columns` are those of a CustomResourceDefinition."""
    if kind.custom:
        return [_definition({"name": "Name", "format": "name"}), *(_custom_definition(column) for column in columns)]
    if kind in CELLS:
        return [_definition(column) for column in _column_data()["columns"][kind.plural]]
    created = {"name": "Created At", "type": "date", "description": _column_data()["descriptions"]["Age"]}
    return [_definition({"name": "Name", "format": "name"}), _definition(created)]


def cells(kind: Kind, obj: Object, now: datetime, columns: Sequence[Column] = ()) -> list[Any]:
    """What stands in the columns of an object's row."""
    if kind.custom:
        name = obj["metadata"].get("name", "")
        return [name, *(_custom_cell(column, obj, now) for column in columns)]
    if kind in CELLS:
        return CELLS[kind](obj, now)
    return [obj["metadata"].get("name", ""), obj["metadata"].get("creationTimestamp")]


@cache
def _column_data() -> dict[str, Any]:
    text = resources.files("simulator.kube.tables").joinpath("columns.json").read_bytes()
    return dict(msgspec.json.decode(text, type=dict[str, Any]))


def _definition(column: Mapping[str, Any]) -> Object:
    return {
        "name": column["name"],
        "type": column.get("type", "string"),
        "format": column.get("format", ""),
        "description": column.get("description") or _column_data()["descriptions"][column["name"]],
        "priority": column.get("priority", 0),
    }


def _custom_definition(column: Column) -> Object:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description or f"Custom resource definition column (in JSONPath format): {column.path}",
        "priority": column.priority,
    }


def _included(obj: Object, include: Include, api_version: str) -> Object | None:
    if include == "Object":
        return obj
    return partial(obj, api_version) if include == "Metadata" else None


def _custom_cell(column: Column, obj: Object, now: datetime) -> Any:
    try:
        found = find_all(column.path, obj)
    except MalformedPathError:
        return None
    if not found or found[0] is None:
        return None
    value = found[0]
    match column.type:
        case "string":
            return _text(value)
        case "date":
            return _age_of(value, now) if isinstance(value, str) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "integer" if isinstance(value, int | float) and not isinstance(value, bool):
            return int(value) if abs(value) < _OVERFLOW else -_OVERFLOW
        case "number" if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        text = msgspec.json.encode(value, order="deterministic").decode()
        return re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", text)
    return _float_text(value) if isinstance(value, float) else str(value)


def _float_text(value: float) -> str:
    """The number as Go prints it: with as few digits as tell it apart, and an exponent from a million on."""
    number = Decimal(repr(value)).normalize()
    exponent = number.adjusted()
    if -5 < exponent < 6:
        return f"{number:f}"
    digits = f"{number.scaleb(-exponent):f}"
    return f"{digits}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"


def _age_of(text: str, now: datetime) -> str:
    if text in ("", "null"):
        return UNKNOWN
    return age(text, now)
