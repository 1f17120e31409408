"""The entries of an object's `managedFields`: who manages which fields, by which operation, and since when."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple

import msgspec

from simulator.kube.apply.fields import FieldSet, from_fields_v1, to_fields_v1
from simulator.kube.kinds import Object

Operation = Literal["Apply", "Update"]

MAX_UPDATE_MANAGERS: Final = 10
"""Entries of updates that an object has at most; the oldest are joined."""

_JOINED: Final = "ancient-changes"


class Manager(NamedTuple):
    """Who manages fields. An applier is the same in every version, so its `api_version` is empty."""

    name: str
    operation: Operation
    api_version: str = ""
    subresource: str = ""

    @property
    def identifier(self) -> str:
        """The manager as the text by which the real server sorts managers."""
        parts = {
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "subresource": self.subresource,
        }
        return msgspec.json.encode({name: part for name, part in parts.items() if part}).decode()

    def __str__(self) -> str:
        """The manager as messages write it."""
        text = msgspec.json.encode(self.name or "unknown").decode()
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return text if self.operation == "Apply" else f"{text} using {self.api_version}"


@dataclass(frozen=True, slots=True)
class Share:
    """The fields that a manager has, in which version, and when it last changed one (empty if it never did)."""

    fields: FieldSet
    api_version: str
    time: str = ""


Managed = Mapping[Manager, Share]


def updater(name: str, api_version: str, subresource: str) -> Manager:
    """Who manages what an update changes."""
    return Manager(name or "unknown", "Update", api_version, subresource)


def applier(name: str, subresource: str) -> Manager:
    """Who manages what is applied."""
    return Manager(name or "unknown", "Apply", "", subresource)


def decoded(entries: Any) -> dict[Manager, Share]:
    """The entries of `metadata.managedFields`.

    Raises:
        ValueError: One of them is malformed.
    """
    if not isinstance(entries, list):
        raise ValueError("managedFields must be a list")
    try:
        sent = [msgspec.convert(entry, _Entry) for entry in entries]
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    found: dict[Manager, Share] = {}
    for entry in sent:
        version = "" if entry.operation == "Apply" else entry.api_version
        manager = Manager(entry.manager or "", entry.operation, version, entry.subresource or "")
        found[manager] = Share(from_fields_v1(entry.fields), entry.api_version, entry.time or "")
    return found


def encoded(managed: Managed) -> list[Object]:
    """The managers as entries of `metadata.managedFields`, in the order of the real server."""
    return in_order(_entry(manager, share) for manager, share in managed.items())


def in_order(entries: Iterable[Object]) -> list[Object]:
    """Encoded entries in the order of the real server."""
    return sorted(entries, key=_order)


def is_of(entry: Object, manager: Manager) -> bool:
    """Whether an encoded entry is that of this updater."""
    held = entry["manager"], entry["operation"], entry["apiVersion"], entry.get("subresource", "")
    return held == (manager.name, manager.operation, manager.api_version, manager.subresource)


def count_updates(entries: Iterable[Object]) -> int:
    """How many encoded entries are those of updaters."""
    return sum(entry["operation"] == "Update" for entry in entries)


def capped(managed: Managed) -> dict[Manager, Share]:
    """The managers with not more than so many updaters: what the oldest ones of a version had is joined."""
    found = dict(managed)
    updaters = sorted(
        (manager for manager in managed if manager.operation == "Update"),
        key=lambda manager: (managed[manager].time, manager.identifier),
    )
    left = len(updaters)
    first: dict[str, Manager] = {}
    for manager in updaters:
        if left <= MAX_UPDATE_MANAGERS:
            break
        share = managed[manager]
        if (oldest := first.setdefault(share.api_version, manager)) is manager:
            continue
        joined = Manager(_JOINED, "Update", share.api_version)
        into = found.pop(joined, None) or found.pop(oldest)
        found.pop(manager, None)
        found[joined] = replace(share, fields=share.fields | into.fields)
        left -= 1
    return found


class _Entry(msgspec.Struct, rename="camel"):
    operation: Operation
    api_version: str = msgspec.field(name="apiVersion")
    fields_type: Literal["FieldsV1"] = msgspec.field(name="fieldsType")
    manager: str | None = None
    time: str | None = None
    fields: Any = msgspec.field(default=None, name="fieldsV1")
    subresource: str | None = None

    def __post_init__(self) -> None:
        if not self.api_version:
            raise ValueError("apiVersion must not be empty")


def _entry(manager: Manager, share: Share) -> Object:
    return {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": share.api_version,
        **({"time": share.time} if share.time else {}),
        "fieldsType": "FieldsV1",
        "fieldsV1": to_fields_v1(share.fields),
        **({"subresource": manager.subresource} if manager.subresource else {}),
    }


def _order(entry: Object) -> tuple[str, ...]:
    fields = ("operation", "time", "manager", "apiVersion", "subresource")
    return tuple(entry.get(name, "") for name in fields)
