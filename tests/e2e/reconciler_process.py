"""One of several reconcilers, as a process: `python reconciler_process.py KUBECONFIG NAME`.

It logs when it leads, and when no more. What it writes is told from what others write by its sidecar image, which is
its name.
"""

import asyncio
import sys
from pathlib import Path

import structlog

from simulator.kube.client import Cluster
from simulator.reconciler.controller import Reconciler
from simulator.reconciler.leader import LeaderElection, LeaseSettings, LeaseTimes
from simulator.reconciler.settings import ReconcilerSettings

TIMES = LeaseTimes(lease_s=2, renew_s=1.2, retry_s=0.2)


async def main(kubeconfig: Path, name: str) -> None:
    """Reconcile while this process leads."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    settings = ReconcilerSettings(nats_url="nats://127.0.0.1:4222", sidecar_image=name)
    lease = LeaseSettings("runtime-instance", times=TIMES, identity=name)
    async with Cluster(kubeconfig, field_manager=name) as cluster:
        await LeaderElection(cluster, lease).run(lambda may_write: Reconciler(cluster, settings, may_write).run())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
