"""Server-side apply: makes an object what an applied configuration says, as far as its manager may."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from simulator.kube.apply.comparison import Comparison, compare
from simulator.kube.apply.failures import (
    apply_conflict,
    live_failure,
    not_convertible,
    typed_failure,
    unmanageable,
    wrong_type,
)
from simulator.kube.apply.fields import FieldSet
from simulator.kube.apply.last_applied import LAST_APPLIER, agreed_before, with_last_applied
from simulator.kube.apply.managed import Managed, Manager, Share, applier, decoded, encoded
from simulator.kube.apply.merging import merged
from simulator.kube.apply.ownership import after_change, conflicts, reset_fields, without_unmanaged
from simulator.kube.apply.shape import Shape, shape_as_sent, shape_of
from simulator.kube.apply.typed import as_held, fields_of, named_fields_too, problems, taken_away
from simulator.kube.apply.updating import managed_before_first_apply
from simulator.kube.kinds import Kind, Object
from simulator.kube.schema.go_json import DecodeError
from simulator.kube.schema.model import Schema
from simulator.kube.schema.pruning import read_metadata
from simulator.kube.schema.typed import read_typed
from simulator.kube.status import ApiFailure, bad_request, conflict
from simulator.kube.timestamps import format_time


def applied(
    kind: Kind,
    schema: Schema,
    old: Object | None,
    config: Object,
    *,
    manager: str,
    force: bool = False,
    subresource: str = "",
    now: datetime,
) -> Object:
    """The object after `manager` applied `config` to it, with its `managedFields` and before defaults.

    What the manager applied before and leaves out now goes, unless somebody else has it. `old` None makes a new object.

    Raises:
        ApiFailure: 400, 409 others have fields that would change and `force` was not said, 500 as the real API has it
            for a configuration that does not fit the schema.
    """
    _check_sent(kind, config)
    managed = _managed(kind, schema, old, now)
    shape = shape_as_sent(kind, schema)
    if found := problems(shape, config):
        raise typed_failure(config, found)
    live = as_held(shape_of(kind, schema), old or {"apiVersion": kind.api_version, "kind": kind.kind})
    me = applier(manager, subresource)
    reset = reset_fields(kind, subresource)
    try:
        new, wanted = _merged(shape, live, config, managed, me, reset)
    except ValueError as error:
        raise live_failure(config, problems(shape, live)) from error
    managed[me] = Share(wanted, kind.api_version, managed[me].time if me in managed else "")
    comparison = compare(shape, live, new).without(reset)
    if not force:
        _check_conflicts(shape, live, managed, comparison, me)
    managed = after_change(managed, comparison, me)
    if me in managed:
        mine = managed.pop(me)
        if fields := without_unmanaged(mine.fields):
            managed[me] = Share(fields, kind.api_version, mine.time if new == live else format_time(now))
    if manager == LAST_APPLIER:
        new = with_last_applied(new, config)
    return _with_entries(_converted(kind, schema, old, new, config), encoded(managed))


def _managed(kind: Kind, schema: Schema, old: Object | None, now: datetime) -> dict[Manager, Share]:
    """Who manages what before the apply."""
    if old is None:
        return {}
    try:
        managed = decoded(old["metadata"].get("managedFields") or [])
    except ValueError as error:
        raise ApiFailure(500, f"failed to decode managed fields: {error}") from error
    try:
        return managed or managed_before_first_apply(kind, schema, old, now)
    except ValueError as error:
        raise unmanageable(old, problems(shape_of(kind, schema), old)) from error


def _check_sent(kind: Kind, config: Object) -> None:
    if (config.get("apiVersion"), config.get("kind")) != (kind.api_version, kind.kind):
        raise wrong_type(config)
    metadata = config.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")


def _merged(
    shape: Shape, live: Object, config: Object, managed: Managed, me: Manager, reset: FieldSet
) -> tuple[Object, FieldSet]:
    """The live object with the configuration, without what the manager gave up; and the fields that it wants."""
    both = merged(shape, live, config)
    wanted = fields_of(shape, config).without(reset)
    if me not in managed:
        return both, wanted
    last = named_fields_too(shape, managed[me].fields)
    everyones = wanted
    for manager, share in managed.items():
        if manager != me:
            everyones = everyones | share.fields
    there = named_fields_too(shape, fields_of(shape, both))
    pruned = taken_away(shape, both, last) or {}
    kept = named_fields_too(shape, fields_of(shape, pruned)) | named_fields_too(shape, everyones)
    pruned = taken_away(shape, both, there - kept) or {}
    # Taking away a list or a map took what is in it: what this manager never had comes back.
    kept = named_fields_too(shape, fields_of(shape, pruned))
    return taken_away(shape, both, (there - kept) & last) or {}, wanted


def _check_conflicts(shape: Shape, live: Object, managed: Managed, comparison: Comparison, me: Manager) -> None:
    taken: Mapping[Manager, FieldSet] = conflicts(managed, comparison, me)
    if not taken:
        return
    if me.name == LAST_APPLIER and (agreed := agreed_before(shape, live)) is not None:
        left = {manager: fields - agreed for manager, fields in taken.items()}
        taken = {manager: fields for manager, fields in left.items() if fields}
    if taken:
        raise apply_conflict(taken)


def _converted(kind: Kind, schema: Schema, old: Object | None, new: Object, config: Object) -> Object:
    """The new object as one of its kind."""
    uid = (new.get("metadata") or {}).get("uid")
    if old is None and uid:
        problem = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise conflict(kind, new["metadata"].get("name") or "", problem)
    try:
        if kind.custom:
            return {**new, "metadata": read_metadata(new.get("metadata") or {})[0]}
        return cast("Object", read_typed(schema, new)[0])
    except DecodeError as error:
        raise not_convertible(kind, config, str(error)) from error


def _with_entries(obj: Object, entries: list[Object]) -> Object:
    metadata: dict[str, Any] = {k: v for k, v in (obj.get("metadata") or {}).items() if k != "managedFields"}
    return {**obj, "metadata": {**metadata, **({"managedFields": entries} if entries else {})}}
