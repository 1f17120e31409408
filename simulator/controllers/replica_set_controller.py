"""The controller that keeps each ReplicaSet's pods as it wants them and writes its status."""

import contextlib
import time
from collections.abc import Iterable
from typing import Final

from simulator.controllers.ages import Ages
from simulator.controllers.claiming import Concerned, claim
from simulator.controllers.expectations import EXPIRY_S, Expectations
from simulator.controllers.ownership import controller_of
from simulator.controllers.pod_state import is_terminating, ready_condition
from simulator.controllers.replica_sets import PodPlan, new_pod, plan_pods, replica_set_status
from simulator.controllers.views import Views
from simulator.errors import KubeError, NotFoundError
from simulator.kube.client import Cluster
from simulator.kube.informer import Key, key_of
from simulator.kube.kinds import POD, REPLICA_SET, Object
from simulator.kube.timestamps import now
from simulator.kube.workqueue import WorkQueue, run_controller
from simulator.kubelet.events import EventRecorder

SOURCE: Final = "replicaset-controller"
WORKERS: Final = 4


class ReplicaSetController:
    """Works from the informers' copies; a pod that it made or deleted counts when the copy shows it."""

    def __init__(self, cluster: Cluster, views: Views, recorder: EventRecorder, ages: Ages, time_scale: float) -> None:
        self._cluster = cluster
        self._views = views
        self._recorder = recorder
        self._ages = ages
        self._time_scale = time_scale
        self._queue: WorkQueue[Key] = WorkQueue()
        self._expected = Expectations(time.monotonic)
        self._concerned = Concerned(REPLICA_SET, views.replica_sets, views.pods)
        views.replica_sets.on_change(self._queue.add)
        views.pods.on_change(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled; the informers must be running and in sync."""
        await run_controller(self._queue, self._reconcile, name="replica sets", workers=WORKERS)

    def _pod_changed(self, key: Key) -> None:
        pod = self._views.pods.get(*key)
        if pod is None:
            self._ages.forget(("ready", key))
        self._expected.seen(key, gone=pod is None or is_terminating(pod))
        for affected in self._concerned.by(key):
            self._queue.add(affected)

    async def _reconcile(self, key: Key) -> None:
        replica_set = self._views.replica_sets.get(*key)
        if replica_set is None:
            self._expected.forget(key)
            return
        with contextlib.suppress(NotFoundError):  # it was deleted meanwhile
            await self._bring_about(key, replica_set)

    async def _bring_about(self, key: Key, replica_set: Object) -> None:
        pods = await self._claimed(replica_set)
        failure: KubeError | None = None
        if not self._expected.are_met(key):
            self._queue.add_after(key, EXPIRY_S)
        elif not is_terminating(replica_set):
            failure = await self._carry_out(
                replica_set, plan_pods(replica_set, pods, self._related(replica_set), now())
            )
        await self._write_status(replica_set, pods, failure)
        if failure is not None:
            raise failure

    async def _claimed(self, replica_set: Object) -> list[Object]:
        """The ReplicaSet's pods, after adopting and releasing what its selector says."""
        namespace, uid = replica_set["metadata"]["namespace"], replica_set["metadata"]["uid"]
        pods = [*self._views.pods_of(uid), *self._views.pod_orphans(namespace)]
        found = await claim(self._cluster, REPLICA_SET, replica_set, POD, pods)
        return [*found.owned, *found.adopt]

    def _related(self, replica_set: Object) -> list[Object]:
        owner = controller_of(replica_set)
        siblings: Iterable[Object] = self._views.replica_sets_of(owner["uid"]) if owner else [replica_set]
        return [pod for sibling in siblings for pod in self._views.pods_of(sibling["metadata"]["uid"])]

    async def _carry_out(self, replica_set: Object, plan: PodPlan) -> KubeError | None:
        """Create and delete pods; return what went wrong."""
        failure = await self._create(replica_set, plan.create)
        for pod in plan.delete:
            failure = await self._delete(replica_set, pod) or failure
        return failure

    async def _create(self, replica_set: Object, number: int) -> KubeError | None:
        """Create pods one after another; the first failure ends it, for the others would fail the same way."""
        for _ in range(number):
            try:
                pod = await self._cluster.create(POD, new_pod(replica_set))
            except KubeError as error:
                self._emit(replica_set, "FailedCreate", f"Error creating: {error}", warning=True)
                return error
            if self._views.pods.get(*key_of(pod)) is None:
                self._expected.creation(key_of(replica_set), key_of(pod))
            self._emit(replica_set, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
        return None

    async def _delete(self, replica_set: Object, pod: Object) -> KubeError | None:
        namespace, name = key_of(pod)
        self._expected.deletion(key_of(replica_set), key_of(pod))
        try:
            await self._cluster.delete(POD, name, namespace)
        except NotFoundError:
            self._expected.seen(key_of(pod), gone=True)
            return None
        except KubeError as error:
            self._expected.seen(key_of(pod), gone=True)
            self._emit(replica_set, "FailedDelete", f"Error deleting: {error}", warning=True)
            return error
        self._emit(replica_set, "SuccessfulDelete", f"Deleted pod: {name}")
        return None

    async def _write_status(self, replica_set: Object, pods: list[Object], failure: KubeError | None) -> None:
        min_ready_s = replica_set["spec"].get("minReadySeconds", 0)
        ages = {key_of(pod): self._ready_age_s(pod) for pod in pods}
        text = str(failure) if failure else ""
        status = replica_set_status(replica_set, pods, lambda pod: ages[key_of(pod)] >= min_ready_s, text, now())
        if status != (replica_set.get("status") or {}):
            await self._cluster.update_status(REPLICA_SET, {**replica_set, "status": status})
        waiting = [
            min_ready_s - age for pod in pods if ready_condition(pod) and (age := ages[key_of(pod)]) < min_ready_s
        ]
        if waiting:
            self._queue.add_after(key_of(replica_set), min(waiting) * self._time_scale)

    def _ready_age_s(self, pod: Object) -> float:
        condition = ready_condition(pod)
        return self._ages.age_s(("ready", key_of(pod)), condition.get("lastTransitionTime") if condition else None)

    def _emit(self, replica_set: Object, reason: str, message: str, *, warning: bool = False) -> None:
        about = {"kind": REPLICA_SET.kind, "apiVersion": REPLICA_SET.api_version, **replica_set}
        self._recorder.emit(about, reason, message, kind="Warning" if warning else "Normal", source=SOURCE)
