"""The order of a list after a strategic merge patch: that of the patch, and between its items that of the list."""

from typing import Any


def merged_scalars(original: list[Any], patch: list[Any]) -> list[Any]:
    """A list of plain values with those of the patch, each once."""
    items: list[Any] = []
    for item in (*original, *patch):
        if item not in items:
            items.append(item)
    return in_element_order(items, patch, original, "")


def in_element_order(items: list[Any], wanted: list[Any], original: list[Any], key: str) -> list[Any]:
    """Put those items that are in `wanted` in its order, and the others where they stood among them in `original`.

    Items are told apart by their field `key`, or by their value if that is empty.
    """
    places = _places(wanted, key)
    before = _places(original, key)
    ordered = sorted(
        (item for item in items if _value(item, key) in places), key=lambda item: places.index(_value(item, key))
    )
    others = [item for item in items if _value(item, key) not in places]
    others.sort(key=lambda item: before.index(_value(item, key)) if _value(item, key) in before else -1)
    found: list[Any] = []
    while ordered and others:
        left, right = _value(others[0], key), _value(ordered[0], key)
        goes_first = left in before and right in before and before.index(left) < before.index(right)
        found.append((others if goes_first else ordered).pop(0))
    return [*found, *ordered, *others]


def _places(items: list[Any], key: str) -> list[Any]:
    return [_value(item, key) for item in items]


def _value(item: Any, key: str) -> Any:
    return item.get(key) if key and isinstance(item, dict) else item
