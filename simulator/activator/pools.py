"""What its units say about a pool: who serves it, what new workers look like, its policy (contract 5.2, 9.3). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from simulator.gpuunit import (
    DEFAULT_IDLE_TIMEOUT_S,
    DEFAULT_MAX_ATTEMPTS,
    MANAGED_LABEL,
    OnWorkerLoss,
    UnitSpecError,
    is_stock,
    serverless_of,
)
from simulator.kube.kinds import Object


@dataclass(frozen=True, slots=True)
class PoolPolicy:
    """How many available workers a pool has, and what happens when it loses one.

    `max_available` of None is no limit. `waiting_per_worker` is `minRequestCount`: so many may wait for each available
    worker before one more is started; 0 starts one only where none is available (A15).
    """

    pool: str
    min_available: int = 0
    max_available: int | None = None
    idle_timeout_s: float = DEFAULT_IDLE_TIMEOUT_S
    waiting_per_worker: int = 0
    on_worker_loss: OnWorkerLoss = OnWorkerLoss.RETRY
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    gpus_per_worker: int = 0


def pools_of(units: Iterable[Object]) -> dict[str, list[Object]]:
    """Return the units of each pool, by name and namespace, with those that are being deleted.

    Units with an invalid spec, and stock units, serve no pool.
    """
    pools: dict[str, list[Object]] = {}
    for unit in units:
        pool = _pool(unit)
        if pool is not None:
            pools.setdefault(pool, []).append(unit)
    for members in pools.values():
        members.sort(key=lambda unit: (unit["metadata"]["name"], unit["metadata"].get("namespace", "")))
    return pools


def pool_units(units: Iterable[Object], pool: str) -> list[Object]:
    """Return the units of one pool, as `pools_of` does."""
    return pools_of(units).get(pool, [])


def template_of(units: Iterable[Object]) -> Object | None:
    """Return the unit that new workers of a pool are made from; None where every unit is being deleted (A7).

    It is the first by name that the activator did not make; a worker of the activator stands in where none is left.
    """
    staying = [unit for unit in units if not unit["metadata"].get("deletionTimestamp")]
    return min(staying, key=lambda unit: (is_managed(unit), unit["metadata"]["name"]), default=None)


def policy_of(template: Object) -> PoolPolicy:
    """Read a pool's policy from its template.

    Raises:
        UnitSpecError: the unit serves no pool.
    """
    spec = serverless_of(template)
    if spec is None:
        raise UnitSpecError("serverless.requestID", "is required of a unit that serves a pool")
    return PoolPolicy(
        pool=spec.request_id,
        min_available=spec.min_available_count,
        max_available=spec.max_available_count or None,
        idle_timeout_s=float(spec.idle_timeout_s),
        waiting_per_worker=spec.min_request_count,
        on_worker_loss=spec.on_worker_loss,
        max_attempts=spec.max_attempts,
        gpus_per_worker=gpus_of(template),
    )


def is_managed(unit: Object) -> bool:
    """Whether the activator made this unit, by its label and not by its name (A8)."""
    return MANAGED_LABEL in (unit["metadata"].get("labels") or {})


def gpus_of(unit: Object) -> int:
    """How many GPUs a unit takes."""
    return int((unit.get("spec") or {}).get("gpu") or 0)


def _pool(unit: Object) -> str | None:
    if is_stock(unit):
        return None
    try:
        spec = serverless_of(unit)
    except UnitSpecError:
        return None
    return spec.request_id if spec else None
