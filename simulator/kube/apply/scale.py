"""The managers of the scale subresource: who has an object's number of replicas, in the form of the Scale object."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from simulator.kube.apply.fields import FieldSet, Path
from simulator.kube.apply.managed import Share, decoded, encoded, updater
from simulator.kube.kinds import Object

SPEC_REPLICAS: Final[Path] = ("f:spec", "f:replicas")
"""Where the built-in kinds keep the number."""


def replicas_path(spec_replicas: str) -> Path:
    """The path of a custom kind's number of replicas, from a JSONPath such as `.spec.workers`."""
    return tuple(f"f:{name}" for name in spec_replicas.strip(".").split("."))


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
