"""What differs between two states of an object, as sets of fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from simulator.kube.apply.fields import FieldSet, Path
from simulator.kube.apply.fields import field as field_step
from simulator.kube.apply.shape import Form, Shape

_ABSENT: Final = object()
_NO_FIELDS: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Fields of the newer state that are new or changed, and those that it no longer has; no field is in two sets."""

    added: FieldSet = field(default_factory=FieldSet)
    modified: FieldSet = field(default_factory=FieldSet)
    removed: FieldSet = field(default_factory=FieldSet)

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.removed)

    def without(self, fields: FieldSet) -> "Comparison":
        """The comparison without these fields and what is below them."""
        return Comparison(self.added.without(fields), self.modified.without(fields), self.removed.without(fields))


def compare(shape: Shape, old: Any, new: Any) -> Comparison:
    """Compare two states of a value."""
    found = Comparison()
    _compare(found, shape, (), old, new)
    return found


def _compare(found: Comparison, shape: Shape, path: Path, old: Any, new: Any) -> None:
    if old is new or old == new:
        return
    if old is _ABSENT or new is _ABSENT:
        here, value = (found.added, new) if old is _ABSENT else (found.removed, old)
        here.insert(path, everything_below(shape, value))
        return
    forms: list[Form] = [shape.form(old), shape.form(new)]
    for form in dict.fromkeys(forms):
        if form == "map" and not shape.map_atomic and not (_is_empty(old, dict) and _is_empty(new, dict)):
            _compare_fields(found, shape, path, old, new)
        elif form == "list" and not shape.list_atomic and not (_is_empty(old, list) and _is_empty(new, list)):
            _compare_items(found, shape, path, old, new)
        else:
            found.modified.insert(path)


def everything_below(shape: Shape, value: Any) -> FieldSet:
    """All fields and items in a value, as they are new with it or go with it."""
    found = FieldSet()
    form = shape.form(value)
    if form == "map" and isinstance(value, dict) and not shape.map_atomic:
        for name, held in shape.members(value).items():
            if (below := shape.field(name)) is not None:
                _add_whole(found, field_step(name), below, held)
    elif form == "list" and isinstance(value, list) and not shape.list_atomic:
        for step, items in _by_step(shape, value).items():
            if len(items) == 1:
                _add_whole(found, step, shape.items(), items[0])
            else:
                found.members.add(step)  # duplicates are one field
    return found


def _add_whole(found: FieldSet, step: str, shape: Shape, value: Any) -> None:
    found.members.add(step)
    if isinstance(value, dict | list) and (inside := everything_below(shape, value)):
        found.children[step] = inside


def _is_empty(value: Any, form: type) -> bool:
    return not isinstance(value, form) or not value


def _compare_fields(found: Comparison, shape: Shape, path: Path, old: Any, new: Any) -> None:
    before = shape.members(old) if isinstance(old, dict) else _NO_FIELDS
    after = shape.members(new) if isinstance(new, dict) else _NO_FIELDS
    for name in {**before, **after}:
        one, other = before.get(name, _ABSENT), after.get(name, _ABSENT)
        if one is not other and (below := shape.field(name)) is not None:
            _compare(found, below, (*path, field_step(name)), one, other)


def _compare_items(found: Comparison, shape: Shape, path: Path, old: Any, new: Any) -> None:
    before, after = _by_step(shape, old), _by_step(shape, new)
    for step in {**before, **after}:
        here = (*path, step)
        olds, news = before.get(step, []), after.get(step, [])
        if len(olds) <= 1 and len(news) <= 1:
            _compare(found, shape.items(), here, olds[0] if olds else _ABSENT, news[0] if news else _ABSENT)
        elif len(olds) > 1 and len(news) > 1:
            if olds != news:
                found.modified.insert(here)
        elif len(olds) > 1:
            # Duplicates are one field; what is left of them is looked into again.
            if news:
                _compare(found, shape.items(), here, _ABSENT, news[0])
            found.removed.insert(here)
        else:
            if olds:
                _compare(found, shape.items(), here, olds[0], _ABSENT)
            found.added.insert(here)


def _by_step(shape: Shape, items: Sequence[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in items if isinstance(items, list) else ():
        found.setdefault(shape.item_step(item), []).append(item)
    return found
