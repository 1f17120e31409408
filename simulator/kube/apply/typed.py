"""What can be done with a value whose shape is known: check it, list its fields, merge another one into it, take away.

No function changes its arguments; results may share parts with them.
"""

from typing import Any, Final

from simulator.kube.apply.fields import FieldSet, Path, field, path_text
from simulator.kube.apply.shape import Scalar, Shape
from simulator.kube.go_text import go_type, go_value

_WANTED: Final[dict[Scalar, tuple[type, ...]]] = {
    "numeric": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "untyped": (str, int, float),
}


def as_held(shape: Shape, value: Any) -> Any:
    """The value as the real server holds it, with the fields that its structs always have."""
    if shape.form(value) == "map" and isinstance(value, dict):
        held = {name: (shape.field(name), below) for name, below in shape.members(value).items()}
        return {name: as_held(below, part) if below else part for name, (below, part) in held.items()}
    if isinstance(value, list):
        return [as_held(shape.items(), item) for item in value]
    return value


def problems(shape: Shape, value: Any, path: Path = ()) -> list[str]:
    """What is wrong with a value that is to be applied, in the words of the real server."""
    form = shape.form(value)
    if value is None:
        return []
    if form == "scalar":
        return [] if _fits(shape.scalar, value) else [_said(path, _not_scalar(shape.scalar, value))]
    if form == "map" and isinstance(value, dict):
        return _map_problems(shape, value, path)
    if form == "list" and isinstance(value, list):
        return _list_problems(shape, value, path)
    return [_said(path, f"expected {form}, got &{{{go_value(value)}}}")]


def _map_problems(shape: Shape, value: dict[str, Any], path: Path) -> list[str]:
    found: list[str] = []
    for name in sorted(value):
        here = (*path, field(name))
        below = shape.field(name)
        if below is None:
            return [*found, _said(here, "field not declared in schema")]
        found += problems(below, value[name], here)
    return found


def _list_problems(shape: Shape, items: list[Any], path: Path) -> list[str]:
    found: list[str] = []
    seen: set[str] = set()
    for index, item in enumerate(items):
        step = f"i:{index}"
        if not shape.list_atomic:
            try:
                step = shape.item_step(item)
            except ValueError as error:
                return [*found, _said(path, f"element {index}: {error}")]
            if step in seen:
                found.append(_said(path, f"duplicate entries for key {path_text((step,))}"))
            seen.add(step)
        found += problems(shape.items(), item, (*path, step))
    return found


def _fits(scalar: Scalar, value: Any) -> bool:
    if isinstance(value, bool):
        return scalar in ("boolean", "untyped")
    return isinstance(value, _WANTED[scalar])


def _not_scalar(scalar: Scalar, value: Any) -> str:
    if scalar == "numeric":
        return f"expected numeric (int or float), got {go_type(value)}"
    if scalar == "string":
        return f"expected string, got &value.valueUnstructured{{Value:{go_value(value, quoted=True)}}}"
    wanted = "boolean" if scalar == "boolean" else "any scalar"
    return f"expected {wanted}, got &{{{go_value(value)}}}"


def _said(path: Path, problem: str) -> str:
    return f"{path_text(path)}: {problem}" if path else problem


def fields_of(shape: Shape, value: Any) -> FieldSet:
    """Every field and item that the value mentions."""
    found = FieldSet()
    _collect(found, shape, value, ())
    return found


def _collect(found: FieldSet, shape: Shape, value: Any, path: Path) -> None:
    form = shape.form(value)
    if form == "scalar" or (shape.map_atomic if form == "map" else shape.list_atomic):
        found.insert(path)
    elif form == "map" and isinstance(value, dict):
        for name, held in value.items():
            here = (*path, field(name))
            if (below := shape.field(name)) is not None:
                _collect(found, below, held, here)
            if held in (None, {}) or not shape.declares(name):
                found.insert(here)
    elif form == "list" and isinstance(value, list):
        steps = [shape.item_step(item) for item in value]
        for step, item in zip(steps, value, strict=True):
            found.insert((*path, step))
            if steps.count(step) == 1:
                _collect(found, shape.items(), item, (*path, step))


def named_fields_too(shape: Shape | None, fields: FieldSet) -> FieldSet:
    """The set with the named fields that lead to its members, such as `spec`, which are not members by themselves."""
    found = FieldSet()
    found.members = set(fields.members)
    for step, child in fields.children.items():
        below = shape.below(step) if shape else None
        found.children[step] = named_fields_too(below, child)
        if shape and step.startswith("f:") and shape.declares(step[2:]):
            found.members.add(step)
    return found


def taken_away(shape: Shape, value: Any, fields: FieldSet) -> Any:
    """The value without these fields and items; None if nothing is left that it would have had before."""
    form = shape.form(value)
    if form == "scalar":
        return value
    if form == "map" and isinstance(value, dict) and not shape.map_atomic:
        return _fields_taken(shape, value, fields)
    if form == "list" and isinstance(value, list) and not shape.list_atomic:
        return _items_taken(shape, value, fields)
    return None


def _fields_taken(shape: Shape, value: dict[str, Any], fields: FieldSet) -> dict[str, Any] | None:
    left: dict[str, Any] = {}
    went_below = False
    for name, held in value.items():
        step = field(name)
        if step in fields.members:
            continue
        below, inside = shape.field(name), fields.below(step)
        if inside and below is not None:
            went_below = True
            left[name] = _emptied(held, taken_away(below, held, inside))
        else:
            left[name] = held
    return left if left or went_below else None


def _items_taken(shape: Shape, items: list[Any], fields: FieldSet) -> list[Any] | None:
    left: list[Any] = []
    for item in items:
        step = shape.item_step(item)
        if step in fields.members:
            continue
        inside = fields.below(step)
        left.append(_emptied(item, taken_away(shape.items(), item, inside)) if inside else item)
    return left or None


def _emptied(before: Any, after: Any) -> Any:
    """What is left of a value; of one from which everything was taken, its empty form."""
    return type(before)() if after is None and isinstance(before, dict | list) else after
