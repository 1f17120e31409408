"""The controllers as a whole, as one task of the platform."""

import asyncio
import time

from simulator.controllers.ages import Ages
from simulator.controllers.deployment_controller import DeploymentController
from simulator.controllers.replica_set_controller import ReplicaSetController
from simulator.controllers.scheduler import Scheduler
from simulator.controllers.scheduling_events import SchedulingEvents
from simulator.controllers.views import Views
from simulator.kube.client import Cluster
from simulator.kubelet.events import EventRecorder


class Controllers:
    """Deployment to ReplicaSet to Pod to node, for a cluster that has no controllers of its own.

    `time_scale` shortens the deadlines for progress, the times that a pod has to be ready, and back-offs.
    """

    def __init__(self, cluster: Cluster, time_scale: float) -> None:
        self._cluster = cluster
        self._time_scale = time_scale

    async def run(self) -> None:
        """Run until cancelled."""
        cluster, views = self._cluster, Views(self._cluster)
        recorder, events = EventRecorder(cluster), SchedulingEvents(cluster)
        ages = Ages(self._time_scale, time.monotonic)
        workers = (
            DeploymentController(cluster, views, recorder, ages, self._time_scale),
            ReplicaSetController(cluster, views, recorder, ages, self._time_scale),
            Scheduler(cluster, views, events, self._time_scale),
        )
        async with asyncio.TaskGroup() as group:
            for part in (recorder, events, views):
                group.create_task(part.run())
            await views.synced()
            for worker in workers:
                group.create_task(worker.run())
