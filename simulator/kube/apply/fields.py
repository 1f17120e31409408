"""Sets of fields, and the form in which an object's `managedFields` hold them (FieldsV1).

A step of a path is a text, as FieldsV1 writes it: `f:spec` is a field, `k:{"name":"web"}` the item of a list that has
this key, `v:"x"` the item of a set that is this value, `i:2` the third item.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from simulator.kube.kinds import Object

Path = tuple[str, ...]

_SELF: Final = "."
_RANKS: Final = {"f": 0, "k": 1, "v": 2, "i": 3}


class FieldSet:
    """A set of paths, as a tree: `members` are the steps that are in it, `children` the steps that lead further."""

    __slots__ = ("children", "members")

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self.members: set[str] = set()
        self.children: dict[str, FieldSet] = {}
        for path in paths:
            self.insert(path)

    def __bool__(self) -> bool:
        return bool(self.members) or any(self.children.values())

    def __contains__(self, path: Path) -> bool:
        node: FieldSet | None = self
        for step in path[:-1]:
            node = node.children.get(step) if node else None
        return node is not None and bool(path) and path[-1] in node.members

    def insert(self, path: Path, below: "FieldSet | None" = None) -> None:
        """Add one path, but not those that lead to it; and paths `below` it, of which there must be none so far.

        The empty path, which is the whole object, cannot be a member.
        """
        if not path:
            return
        node = self
        for step in path[:-1]:
            node = node.children.setdefault(step, FieldSet())
        node.members.add(path[-1])
        if below:
            node.children[path[-1]] = below

    def below(self, step: str) -> "FieldSet":
        """The rest of the paths that start with this step."""
        return self.children.get(step) or FieldSet()

    def paths(self, prefix: Path = ()) -> Iterator[Path]:
        """All paths in their order: what ends here before what leads further."""
        for step in sorted(self.members, key=_rank):
            yield (*prefix, step)
        for step in sorted(self.children, key=_rank):
            yield from self.children[step].paths((*prefix, step))

    def __or__(self, other: "FieldSet") -> "FieldSet":
        joined = _made(self.members | other.members, {})
        for step in self.children.keys() | other.children.keys():
            joined.children[step] = self.below(step) | other.below(step)
        return joined

    def __and__(self, other: "FieldSet") -> "FieldSet":
        shared = self.children.keys() & other.children.keys()
        common = {step: self.children[step] & other.children[step] for step in shared}
        return _made(self.members & other.members, common)

    def __sub__(self, other: "FieldSet") -> "FieldSet":
        left = {
            step: child - other.children[step] if step in other.children else child
            for step, child in self.children.items()
        }
        return _made(self.members - other.members, left)

    def without(self, other: "FieldSet") -> "FieldSet":
        """What is left once the paths of `other`, and all that is below them, are taken away."""
        left = {
            step: child.without(other.below(step)) for step, child in self.children.items() if step not in other.members
        }
        return _made(self.members - other.members, left)


def _made(members: set[str], children: dict[str, FieldSet]) -> FieldSet:
    made = FieldSet()
    made.members = members
    made.children = {step: child for step, child in children.items() if child}
    return made


def to_fields_v1(fields: FieldSet) -> Object:
    """The set as FieldsV1."""
    found: Object = {}
    for step in sorted(fields.members | fields.children.keys()):
        child = fields.children.get(step)
        found[step] = to_fields_v1(child) if child else {}
        if child and step in fields.members:
            found[step] = {_SELF: {}, **found[step]}
    return found


def is_touched(value: Any, fields: FieldSet) -> bool:
    """Whether FieldsV1, as `to_fields_v1` writes it, has one of the fields."""
    for step in fields.members:
        held = value.get(step)
        if held is not None and (not held or _SELF in held):
            return True
    return any(is_touched(value[step], child) for step, child in fields.children.items() if step in value)


def from_fields_v1(value: Any) -> FieldSet:
    """The set that FieldsV1 holds; steps of a kind that is not known are left out.

    Raises:
        ValueError: It is not FieldsV1.
    """
    fields = FieldSet()
    if value is None:
        return fields
    if not isinstance(value, dict):
        raise ValueError("FieldsV1 must be an object")
    for step, below in value.items():
        if step == _SELF or not _is_known(step):
            continue
        child = from_fields_v1(below)
        if child:
            fields.children[_canonical(step)] = child
        if not child or _SELF in below:
            fields.members.add(_canonical(step))
    return fields


def field(name: str) -> str:
    """The step to a field."""
    return f"f:{name}"


def keyed_item(key: dict[str, Any]) -> str:
    """The step to the item of a list that has this key."""
    return f"k:{_text(dict(sorted(key.items())))}"


def set_item(value: Any) -> str:
    """The step to the item of a set that is this value."""
    return f"v:{_text(value)}"


def step_text(step: str) -> str:
    """The step as messages write it: `.spec`, `[name="web"]`, `[="x"]`, `[2]`."""
    form, rest = step[0], step[2:]
    if form == "f":
        return f".{rest}"
    if form == "k":
        pairs = msgspec.json.decode(rest, type=dict[str, Any])
        return f"[{','.join(f'{name}={_text(value)}' for name, value in sorted(pairs.items()))}]"
    return f"[={rest}]" if form == "v" else f"[{rest}]"


def path_text(path: Path) -> str:
    """The path as messages write it: `.spec.ports[name="a"].port`."""
    return "".join(map(step_text, path))


def _text(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=float).decode()


def _is_known(step: str) -> bool:
    if len(step) < 2:
        raise ValueError("key must be 2 characters long:")
    if step[1] != ":":
        raise ValueError(f"missing colon: {step}")
    return step[0] in _RANKS


def _canonical(step: str) -> str:
    """The step as this package writes it, whatever spaces and order of names a client wrote."""
    if step[0] == "k":
        return keyed_item(msgspec.json.decode(step[2:], type=dict[str, Any]))
    if step[0] == "v":
        return set_item(msgspec.json.decode(step[2:]))
    return step


def _rank(step: str) -> tuple[int, list[tuple[int, Any]] | str]:
    """The order of steps: fields, keys, values, positions; numbers by size."""
    rank, rest = _RANKS[step[0]], step[2:]
    if rank == 0:
        return rank, rest
    value = msgspec.json.decode(rest)
    pairs = sorted(value.items()) if isinstance(value, dict) else [("", value)]
    return rank, [_comparable(part) for name, value in pairs for part in (name, value)]


def _comparable(value: Any) -> tuple[int, Any]:
    """A value that can be compared with those of other types: numbers, then texts, then booleans."""
    if isinstance(value, bool):
        return 2, value
    if isinstance(value, int | float):
        return 0, value
    return 1, value if isinstance(value, str) else _text(value)
