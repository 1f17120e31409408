"""Field selectors: which fields of which kind they may name, and what an object holds there."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.kube.go_text import go_quoted
from simulator.kube.kinds import EVENT, NAMESPACE, NODE, POD, SECRET, SERVICE, Kind, Object
from simulator.kube.status import bad_request

_METADATA = frozenset({"metadata.name", "metadata.namespace"})
_FIELDS: Mapping[Kind, frozenset[str]] = {
    POD: _METADATA
    | {
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "spec.host",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    },
    EVENT: _METADATA
    | {"reason", "reportingComponent", "source", "type"}
    | {
        f"involvedObject.{name}"
        for name in ("apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid")
    },
    SECRET: _METADATA | {"type"},
    SERVICE: _METADATA | {"spec.clusterIP", "spec.type"},
    NODE: frozenset({"metadata.name", "spec.unschedulable"}),
    NAMESPACE: frozenset({"metadata.name", "status.phase"}),
}
"""Of the kinds that have fields of their own, all that a selector may name."""

_TERM = re.compile(r"(.*?)(!=|==|=)(.*)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.?)|([,=])", re.DOTALL)


Term = tuple[str, str, bool]
"""A field, a value, and whether the field must have it or must not."""


@dataclass(frozen=True, slots=True)
class FieldTest:
    """What `read` finds in an object must be `value`, or must not be."""

    path: str
    read: Callable[[Object], str]
    value: str
    wanted: bool

    def passes(self, obj: Object) -> bool:
        """Whether the object is as it must be."""
        return (self.read(obj) == self.value) is self.wanted


def parse_field_terms(text: str) -> list[Term]:
    """Parse `field=value,field!=value`, where `\\` stands before a comma or an equals sign that is meant (400)."""
    terms = []
    for term in sorted(filter(None, re.findall(r"(?:\\.|[^,\\]|\\$)+", text, re.DOTALL))):
        match = _TERM.fullmatch(term)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        path, operator, value = match.groups()
        terms.append((path, _ESCAPED.sub(_unescaped, value), operator != "!="))
    return terms


def field_tests(kind: Kind, terms: Collection[Term], selectable: Collection[str] = ()) -> tuple[FieldTest, ...]:
    """The tests of a kind's objects; `selectable` are the fields that a custom resource adds to the common ones.

    Raises:
        ApiFailure: 400; a field cannot be selected by.
    """
    known = _FIELDS.get(kind, _METADATA)
    for path, _, _ in terms:
        if path not in known and path not in selectable:
            raise bad_request(_unknown_field(kind, path))
    return tuple(FieldTest(path, _reader(kind, path), value, wanted) for path, value, wanted in terms)


def _reader(kind: Kind, path: str) -> Callable[[Object], str]:
    special = _SPECIAL.get((kind, path))
    if special is not None:
        return special
    names = path.split(".")

    def read(obj: Object) -> str:
        value: Any = obj
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return _text(value)

    return read


def _unescaped(match: re.Match[str]) -> str:
    escaped, bare = match.groups()
    if bare:
        raise bad_request(f"invalid field selector: unescaped character in value: {ord(bare)}")
    if escaped not in ("\\", ",", "="):
        raise bad_request(f"invalid field selector: invalid escape sequence: \\{escaped}")
    return str(escaped)


def _unknown_field(kind: Kind, path: str) -> str:
    if kind.custom or kind in _FIELDS:
        return f"field label not supported: {path}"
    return f'{go_quoted(path)} is not a known field selector: only "metadata.name", "metadata.namespace"'


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _flag(section: str, name: str) -> Callable[[Object], str]:
    return lambda obj: _text(bool((obj.get(section) or {}).get(name)))


def _pod_ip(pod: Object) -> str:
    status = pod.get("status") or {}
    addresses = status.get("podIPs") or [{"ip": status.get("podIP")}]
    return _text(addresses[0].get("ip"))


def _event_source(event: Object) -> str:
    return _text((event.get("source") or {}).get("component") or event.get("reportingComponent"))


_SPECIAL: Mapping[tuple[Kind, str], Callable[[Object], str]] = {
    (POD, "spec.host"): lambda pod: _text((pod.get("spec") or {}).get("nodeName")),
    (POD, "spec.hostNetwork"): _flag("spec", "hostNetwork"),
    (POD, "status.podIP"): _pod_ip,
    (POD, "status.podIPs"): lambda _: "",  # may be named, but no pod has it
    (NODE, "spec.unschedulable"): _flag("spec", "unschedulable"),
    (EVENT, "source"): _event_source,
}
