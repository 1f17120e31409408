"""How many GPUs of the cluster's budget a pool's new workers may take. Pure."""

from collections.abc import Mapping

from simulator.activator.fleet import Condition
from simulator.activator.lifecycle import GpuBudget, PoolView


def budget_for(pool: str, total: int, pools: Mapping[str, PoolView]) -> GpuBudget:
    """Share out `total` GPUs, from the view of one pool.

    Units that people made stay, and so does what other pools keep as their minimum; every other worker may go.
    """
    taken = sum(_taken(view, managed=True) + _taken(view, managed=False) for view in pools.values())
    stays = sum(_taken(view, managed=False) for view in pools.values())
    kept = sum(_kept(view) for name, view in pools.items() if name != pool)
    return GpuBudget(free=max(total - taken, 0), attainable=max(total - stays - kept, 0))


def _taken(view: PoolView, *, managed: bool) -> int:
    return sum(
        worker.gpus
        for worker in view.workers
        if worker.managed is managed and worker.condition is not Condition.TEMPLATE
    )


def _kept(view: PoolView) -> int:
    """GPUs of the workers that a pool has made for its minimum."""
    own = sum(not worker.managed and worker.condition is Condition.LIVE for worker in view.workers)
    made = sum(worker.managed for worker in view.workers)
    return min(made, max(view.minimum - own, 0)) * view.policy.gpus_per_worker
