"""The `managedFields` of an object that is created, replaced or patched: who changes a field manages it."""

from datetime import datetime
from typing import Final

from simulator.kube.apply.comparison import compare
from simulator.kube.apply.fields import is_touched
from simulator.kube.apply.managed import (
    MAX_UPDATE_MANAGERS,
    Manager,
    Share,
    capped,
    count_updates,
    decoded,
    encoded,
    in_order,
    is_of,
    updater,
)
from simulator.kube.apply.ownership import after_change, reset_fields, without_unmanaged
from simulator.kube.apply.shape import shape_of
from simulator.kube.kinds import Kind, Object
from simulator.kube.schema.model import Schema
from simulator.kube.timestamps import format_time

_CURRENT: Final = Manager("current-operation", "Update")


def record_update(
    kind: Kind, schema: Schema, old: Object | None, new: Object, *, manager: str, subresource: str = "", now: datetime
) -> list[Object]:
    """The `metadata.managedFields` of an object after a write other than an apply, empty if nobody is to be tracked.

    `new` is the object as the client means it, with defaults: before the server changes what clients may not change.
    Once an item of a keyed list has no key, nobody is tracked any longer.
    """
    entries = _entries(old, new, subresource)
    if not entries and old is not None:
        return []
    before = old or {"apiVersion": kind.api_version, "kind": kind.kind}
    shape = shape_of(kind, schema)
    try:
        comparison = compare(shape, _without_entries(before), _without_entries(new))
    except ValueError:
        return []
    comparison = comparison.without(reset_fields(kind, subresource))
    if not comparison:
        return entries
    gone = comparison.added | comparison.modified | comparison.removed
    left = [entry for entry in entries if not is_touched(entry["fieldsV1"], gone)]
    # Only the entries that lose something, and the writer's own, are decoded: this runs at every write.
    me = updater(manager, kind.api_version, subresource)
    touched = decoded([entry for entry in entries if entry not in left or is_of(entry, me)])
    managed = after_change(touched, comparison, _CURRENT)
    changed = without_unmanaged(comparison.added | comparison.modified)
    if changed:
        mine = managed[me].fields if me in managed else changed
        managed[me] = Share(changed | mine, kind.api_version, format_time(now))
    found = in_order([*(entry for entry in left if not is_of(entry, me)), *encoded(managed)])
    return found if count_updates(found) <= MAX_UPDATE_MANAGERS else encoded(capped(decoded(found)))


def differs_in_times_only(old: Object, new: Object) -> bool:
    """Whether an update changed nothing but since when somebody manages a field: then it is no change.

    That is so where a client changes what the server does not let it change.
    """
    before, after = (_without_times(obj) for obj in (old, new))
    return before == after


def managed_before_first_apply(kind: Kind, schema: Schema, live: Object, now: datetime) -> dict[Manager, Share]:
    """Who manages the fields of an object that is not tracked yet when it is applied to.

    Raises:
        ValueError: an item of a keyed list has no key.
    """
    empty = {"apiVersion": kind.api_version, "kind": kind.kind}
    found = compare(shape_of(kind, schema), empty, _without_entries(live))
    fields = without_unmanaged(found.added | found.modified)
    me = updater("before-first-apply", kind.api_version, "")
    return {me: Share(fields, kind.api_version, format_time(now))} if fields else {}


def _entries(old: Object | None, new: Object, subresource: str) -> list[Object]:
    """The entries that the write starts from: those of the client if it may send some and they are sound."""
    kept: list[Object] = (old or {}).get("metadata", {}).get("managedFields") or []
    sent = new.get("metadata", {}).get("managedFields")
    if subresource or sent is None or sent == kept:
        return kept
    if sent in ([], [{}]):
        return []  # how a client asks to forget the managers
    try:
        return encoded(decoded(sent)) or kept
    except ValueError:
        return kept


def _without_times(obj: Object) -> Object:
    entries = obj["metadata"].get("managedFields") or []
    timeless = [{name: value for name, value in entry.items() if name != "time"} for entry in entries]
    return {**obj, "metadata": {**obj["metadata"], "managedFields": timeless}}


def _without_entries(obj: Object) -> Object:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}
