"""Reads from Go sources how their structs are written in Protocol Buffers: the numbers and the types of their fields.

A part of making the package's data, see `compile`; nothing at run time reads Go.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from simulator.kube.schema.go_types import Package
from simulator.kube.schema.protobuf_messages import SCALARS, SPECIAL_MESSAGES, Field, definition_path

_FIELD = re.compile(r"^\t(?:(\w+)\s+)?([*\w.\[\]]+)\s+`([^`]*)`", re.MULTILINE)
_TAG = re.compile(r'(json|protobuf):"([^"]*)"')
_NAMED = re.compile(r"^type (\w+) ((?:map\[[\w.]+\]|\[\])?[\w.]+)$", re.MULTILINE)
_OMITTED = {"omitempty": "o", "omitzero": "z"}


def go_messages(modules: Path, definitions: Iterable[str]) -> dict[str, list[Field]]:
    """The messages of the structs behind OpenAPI definitions, and those that they contain, by the paths of the structs.

    Raises:
        FileNotFoundError: a module is not in the directory `modules`.
        ValueError: a field is of a type that is not known here.
    """
    found: dict[str, list[Field]] = {}
    waiting = [definition_path(definition) for definition in definitions]
    while waiting:
        path = waiting.pop()
        if path not in found:
            *package, struct = path.split(".")
            found[path] = _fields(Package(modules, tuple(package)), struct)
            waiting.extend(field.type for field in found[path] if "." in field.type)
    return dict(sorted(found.items()))


def _fields(package: Package, struct: str) -> list[Field]:
    fields = []
    for go_name, declared, tags in _FIELD.findall(package.structs[struct]):
        tag = dict(_TAG.findall(tags))
        if "protobuf" not in tag:
            continue
        _, number, *_ = tag["protobuf"].split(",")
        name, *options = tag["json"].split(",")
        type_name, flags = _type(package, declared)
        flags += "".join(_OMITTED.get(option, "") for option in options)
        go_name = go_name or declared.rpartition(".")[2]
        renamed = go_name if go_name != name[:1].upper() + name[1:] else ""
        fields.append(Field(int(number), name, type_name, flags, renamed))
    return fields


def _type(package: Package, declared: str) -> tuple[str, str]:
    """The type of a field as `Field` has it, and what of its flags the type tells."""
    if declared.startswith("*"):
        return _type(package, declared[1:])[0], "p"
    if declared.startswith("[]") and declared != "[]byte":
        return _type(package, declared[2:])[0], "l"
    if declared.startswith("map["):
        return _type(package, declared.partition("]")[2])[0], "m"
    if declared in SCALARS:
        return declared, ""
    home, name = package.located(declared)
    if name in SPECIAL_MESSAGES:
        return name, ""
    if name in home.structs:
        return ".".join((*home.path, name)), ""
    underlying = dict(_NAMED.findall(home.source)).get(name)
    if underlying is None:
        raise ValueError(f"the Go type {declared} of {'.'.join(package.path)} is not known to {__name__}")
    return _type(home, underlying)
