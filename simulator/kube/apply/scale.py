"""The managers of the scale subresource: who has an object's number of replicas, in the form of the Scale object."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from simulator.kube.apply.fields import FieldSet, Path
from simulator.kube.apply.managed import Manager, Share, decoded, encoded, updater
from simulator.kube.builtin.scale import SCALE
from simulator.kube.kinds import Object

SPEC_REPLICAS: Final[Path] = ("f:spec", "f:replicas")
"""Where the built-in kinds keep the number."""


def replicas_path(spec_replicas: str) -> Path:
    """The path of a custom kind's number of replicas, from a JSONPath such as `.spec.workers`."""
    return tuple(f"f:{name}" for name in spec_replicas.strip(".").split("."))


def scale_entries(entries: Sequence[Object], path: Path) -> list[Object]:
    """The `managedFields` of an object's Scale: who has its number of replicas, at `path` of the object."""
    found = {
        manager._replace(api_version=manager.api_version and SCALE.api_version): Share(
            FieldSet([SPEC_REPLICAS]), SCALE.api_version, share.time
        )
        for manager, share in decoded(list(entries)).items()
        if path in share.fields
    }
    return encoded(found)


def after_scale_apply(
    entries: Sequence[Object], applied: Sequence[Object], path: Path, api_version: str
) -> list[Object]:
    """The `managedFields` of the object whose Scale was applied to; `applied` are those of the Scale.

    Who has the number no longer loses it; who came to have it gets an entry of its own, without a time.
    """
    replicas, before, scaled = FieldSet([path]), decoded(list(entries)), decoded(list(applied))
    found: dict[Manager, Share] = {}
    for manager, share in before.items():
        if path not in share.fields or scaled.pop(manager, None) is not None:
            found[manager] = share
        elif left := share.fields - replicas:
            found[manager] = replace(share, fields=left)
    for manager in scaled:
        found[manager] = Share(replicas, api_version, before[manager].time if manager in before else "")
    return encoded(found)


def record_scale(
    entries: Sequence[Object], path: Path, *, api_version: str, manager: str, before: int, after: int
) -> list[Object]:
    """The `managedFields` of the scaled object after a write to its scale subresource.

    `entries` are those before the write, `path` leads to the number of replicas. Who makes it another number has it,
    without a time, and everybody else loses it. No replicas are no field of a Scale, so nobody has them; and a number
    that nobody has stays so.
    """
    managed = decoded(list(entries))
    if before == after or not any(path in share.fields for share in managed.values()):
        return list(entries)
    replicas = FieldSet([path])
    left = {other: replace(share, fields=share.fields - replicas) for other, share in managed.items()}
    scaled = {other: share for other, share in left.items() if share.fields}
    if after:
        scaled[updater(manager, api_version, "scale")] = Share(replicas, api_version)
    return encoded(scaled)
