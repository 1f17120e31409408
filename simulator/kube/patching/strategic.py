"""Strategic merge patches: lists are merged by the merge keys of the schema, and a patch may carry directives.

`$patch: replace|delete` stands in an object, `$retainKeys` beside its fields, `$deleteFromPrimitiveList/<field>` and
`$setElementOrder/<field>` beside the list that they are about.
"""

from collections.abc import Mapping
from typing import Any, Final

from simulator.kube.go_text import go_type, go_value
from simulator.kube.patching.lists import in_element_order, merged_scalars
from simulator.kube.patching.patch_errors import BadPatchFormat, ListOfListsError, StrategicPatchError
from simulator.kube.schema.model import ANY, Schema

DIRECTIVE: Final = "$patch"
RETAIN_KEYS: Final = "$retainKeys"
DELETE_FROM: Final = "$deleteFromPrimitiveList"
ELEMENT_ORDER: Final = "$setElementOrder"

_NOTHING: Final = object()


def strategic_merge(schema: Schema, original: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Apply a strategic merge patch to an object of this schema; no argument is changed.

    Raises:
        StrategicPatchError: The patch is malformed; the message is that of the real server.
    """
    if DIRECTIVE in patch:
        return _directed(patch)
    merged = _retained(original, patch)
    fields = {name: value for name, value in patch.items() if name != RETAIN_KEYS}
    for name in [name for name in fields if name.startswith(ELEMENT_ORDER)]:
        field = _key_of(name, ELEMENT_ORDER)
        _order_list(schema, merged, field, fields.pop(name), fields.pop(field, None))
    for name, value in fields.items():
        if name.startswith(DELETE_FROM):
            _delete_from_list(merged, _key_of(name, DELETE_FROM), value)
        elif value is None:
            merged.pop(name, None)
        else:
            _merge_field(schema, merged, name, value)
    return merged


def _directed(patch: Mapping[str, Any]) -> dict[str, Any]:
    match patch[DIRECTIVE]:
        case "replace":
            return {name: value for name, value in patch.items() if name != DIRECTIVE}
        case "delete":
            return {}
    raise _bad_directive(patch)


def _bad_directive(patch: Mapping[str, Any]) -> StrategicPatchError:
    return StrategicPatchError(f"unknown patch type: {go_value(patch[DIRECTIVE])} in map: {go_value(dict(patch))}")


def _key_of(name: str, directive: str) -> str:
    prefix, _, field = name.partition("/")
    if prefix != directive or not field:
        what = "primitive list" if directive == DELETE_FROM else "setElementOrder list"
        raise BadPatchFormat(f"invalid patch format of {what}")
    return field


def _retained(original: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The original without the fields that are not to be retained."""
    if RETAIN_KEYS not in patch:
        return dict(original)
    retained = patch[RETAIN_KEYS]
    lists = (DELETE_FROM, ELEMENT_ORDER)
    fields = [
        name
        for name, value in patch.items()
        if name != RETAIN_KEYS and value is not None and not name.startswith(lists)
    ]
    if not isinstance(retained, list) or any(name not in retained for name in fields):
        raise BadPatchFormat("invalid patch format of retainKeys")
    return {name: value for name, value in original.items() if name in retained}


def _merge_field(schema: Schema, merged: dict[str, Any], name: str, value: Any) -> None:
    held = merged.get(name, _NOTHING)
    if go_type(held) != go_type(value) or not isinstance(held, dict | list):
        kept = _without_directives(_without_nulls(value))
        if kept is _NOTHING:
            merged.pop(name, None)
        else:
            merged[name] = kept
        return
    field = _field(schema, name)
    strategies = set(field.patch_strategy) - {"retainKeys"}
    if isinstance(held, dict):
        merged[name] = value if "replace" in strategies else strategic_merge(field, held, value)
    else:
        merged[name] = _merged_list(field, held, value) if "merge" in strategies else value


def _merged_list(schema: Schema, original: list[Any], patch: list[Any]) -> list[Any]:
    if not original and not patch:
        return original
    if not _holds_maps(original, patch):
        return merged_scalars(original, patch)
    key = schema.patch_merge_key
    if not key:
        raise StrategicPatchError("cannot merge lists without merge key for struct")
    items, additions = _special_items_done(original, patch, key)
    for addition in additions:
        value = _merge_value(addition, key)
        position = next((at for at, item in enumerate(items) if key in item and item[key] == value), None)
        if position is None:
            items.append(addition)
        else:
            items[position] = strategic_merge(schema.items or ANY, items[position], addition)
    return in_element_order(items, additions, original, key)


def _special_items_done(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """The list after the items of the patch that are directives, and the other items of the patch."""
    items, additions, replace = list(original), [], False
    for item in patch:
        match item.get(DIRECTIVE):
            case None if DIRECTIVE not in item:
                additions.append(item)
            case "delete":
                value = _merge_value(item, key)
                items = [held for held in items if not (key in held and held[key] == value)]
            case "replace":
                replace = True
            case "merge":
                raise StrategicPatchError("merging lists cannot yet be specified in the patch")
            case _:
                raise _bad_directive(item)
    return (additions, []) if replace else (items, additions)


def _merge_value(item: Mapping[str, Any], key: str) -> Any:
    if key not in item:
        raise StrategicPatchError(f"map: {go_value(dict(item))} does not contain declared merge key: {key}")
    return item[key]


def _order_list(schema: Schema, merged: dict[str, Any], name: str, order: Any, patch: Any) -> None:
    """Merge a list whose items the patch puts in order."""
    original = merged.get(name)
    for value in (order, original, patch):
        if value is not None and not isinstance(value, list):
            raise StrategicPatchError(f"expected a []interface {{}}, but received a {go_type(value)}")
    field = _field(schema, name)
    key = field.patch_merge_key
    _check_order(patch or [], order or [], key)
    if original is None and patch is None:
        return
    if original is None:
        items = _without_directives(patch)
    elif patch is None:
        items = original
    else:
        items = _merged_list(field, original, patch) if "merge" in field.patch_strategy else patch
    merged[name] = in_element_order(items, order or [], original or [], key)


def _check_order(patch: list[Any], order: list[Any], key: str) -> None:
    """Check that the items of the patch come in the order that it asks for."""
    if not patch or not order:
        return
    wanted = iter([_merge_value(item, key) if key else item for item in order])
    for item in patch:
        if isinstance(item, dict) and DIRECTIVE in item:
            continue
        value = _merge_value(item, key) if key else item
        if value not in wanted:
            sent, asked = go_value(patch), go_value(order)
            raise StrategicPatchError(
                f"The order in patch list:\n{sent}\n doesn't match {ELEMENT_ORDER} list:\n{asked}\n"
            )


def _delete_from_list(merged: dict[str, Any], name: str, values: Any) -> None:
    if isinstance(values, list) and isinstance(merged.get(name), list):
        merged[name] = [item for item in merged[name] if item not in values]


def _holds_maps(*lists: list[Any]) -> bool:
    """Whether the items are objects."""
    types = [go_type(item) for items in lists for item in items]
    if types[0] == go_type([]):
        raise ListOfListsError("lists of lists are not supported")
    if len(set(types)) > 1:
        raise StrategicPatchError(f"list element types are not identical: {go_value(list(lists))}")
    return types[0] == go_type({})


def _field(schema: Schema, name: str) -> Schema:
    found = schema.property(name)
    if found is None and not schema.preserve_unknown:
        struct = schema.title.rpartition(".")[2]
        raise StrategicPatchError(f'unable to find api field in struct {struct} for the json field "{name}"')
    return found or ANY


def _without_directives(value: Any) -> Any:
    """A value that is taken over as it is, without what is a directive in it."""
    if isinstance(value, dict):
        if DIRECTIVE in value:
            return _NOTHING
        kept = {name: _without_directives(held) for name, held in value.items()}
        return {name: held for name, held in kept.items() if held is not _NOTHING}
    if isinstance(value, list):
        return [held for held in map(_without_directives, value) if held is not _NOTHING]
    return value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(held) for name, held in value.items() if held is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
