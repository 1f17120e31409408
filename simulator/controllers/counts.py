"""How many pods a Deployment or a ReplicaSet wants and has, and the limits of a rolling update."""

from collections.abc import Iterable
from math import ceil, floor
from typing import Final

from simulator.kube.kinds import Object

DEFAULT_SHARE: Final = "25%"
"""Of `maxSurge` and of `maxUnavailable`."""


def replicas(obj: Object) -> int:
    """`spec.replicas`, 1 if it is not set."""
    wanted: int | None = obj["spec"].get("replicas")
    return 1 if wanted is None else wanted


def total(objects: Iterable[Object]) -> int:
    """The replicas that all of them want together."""
    return sum(map(replicas, objects))


def counted(obj: Object, field: str) -> int:
    """A count of the object's status, 0 if it is not there."""
    return int((obj.get("status") or {}).get(field) or 0)


def total_counted(objects: Iterable[Object], field: str) -> int:
    """The sum of a count over the statuses of all of them."""
    return sum(counted(obj, field) for obj in objects)


def active(replica_sets: Iterable[Object]) -> list[Object]:
    """The ReplicaSets that want pods."""
    return [entry for entry in replica_sets if replicas(entry) > 0]


def is_rolling(deployment: Object) -> bool:
    """Whether new pods replace old ones little by little, which is the default."""
    strategy: Object = deployment["spec"].get("strategy") or {}
    return bool(strategy.get("type", "RollingUpdate") == "RollingUpdate")


def max_surge(deployment: Object) -> int:
    """How many pods more than wanted there may be during an update."""
    return _surge(deployment) if is_rolling(deployment) else 0


def max_unavailable(deployment: Object) -> int:
    """How many of the wanted pods may be missing during an update; 1 where else nothing could change."""
    wanted = replicas(deployment)
    if not is_rolling(deployment) or not wanted:
        return 0
    allowed = _resolve(_limit(deployment, "maxUnavailable"), wanted, up=False)
    if not allowed and not _surge(deployment):
        allowed = 1
    return min(allowed, wanted)


def _surge(deployment: Object) -> int:
    return _resolve(_limit(deployment, "maxSurge"), replicas(deployment), up=True)


def _limit(deployment: Object, name: str) -> int | str:
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    limit: int | str | None = rolling.get(name)
    return DEFAULT_SHARE if limit is None else limit


def _resolve(limit: int | str, wanted: int, *, up: bool) -> int:
    if isinstance(limit, int):
        return limit
    share = int(limit.rstrip("%")) * wanted
    return ceil(share / 100) if up else floor(share / 100)
