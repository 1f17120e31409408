"""The controller that brings a Deployment about by its ReplicaSets, step by step, and writes its status."""

import contextlib
from collections.abc import Sequence
from typing import Final

from simulator.controllers.ages import Ages
from simulator.controllers.claiming import Concerned, claim
from simulator.controllers.conditions import condition_of, new_condition, with_condition
from simulator.controllers.counts import is_rolling, replicas, total_counted
from simulator.controllers.deployment_status import (
    PROGRESSING,
    check_after_s,
    current_status,
    deadline_s,
    is_complete,
    is_paused,
    is_progressing,
    pause_condition,
    rollout_status,
)
from simulator.controllers.ownership import controller_of
from simulator.controllers.pod_state import is_ended, is_terminating
from simulator.controllers.revisions import (
    REVISION,
    annotations_of,
    brought_up_to_date,
    is_of_template,
    new_replica_set,
    outlived,
    resized,
    split,
)
from simulator.controllers.rollout import (
    Resize,
    first_size,
    is_scaling,
    recreate_step,
    rolling_step,
    scale,
)
from simulator.controllers.views import Views
from simulator.errors import AlreadyExistsError, ConflictError, KubeError, NotFoundError
from simulator.kube.client import Cluster
from simulator.kube.informer import Key, key_of
from simulator.kube.kinds import DEPLOYMENT, REPLICA_SET, Object
from simulator.kube.timestamps import now
from simulator.kube.workqueue import WorkQueue, run_controller
from simulator.kubelet.events import EventRecorder

SOURCE: Final = "deployment-controller"
WORKERS: Final = 4


class DeploymentController:
    """Works from the informers' copies. A copy that is out of date shows in a conflict, and the work is done again."""

    def __init__(self, cluster: Cluster, views: Views, recorder: EventRecorder, ages: Ages, time_scale: float) -> None:
        self._cluster = cluster
        self._views = views
        self._recorder = recorder
        self._ages = ages
        self._time_scale = time_scale
        self._queue: WorkQueue[Key] = WorkQueue()
        self._concerned = Concerned(DEPLOYMENT, views.deployments, views.replica_sets)
        views.deployments.on_change(self._queue.add)
        views.replica_sets.on_change(self._replica_set_changed)

    async def run(self) -> None:
        """Work until cancelled; the informers must be running and in sync."""
        await run_controller(self._queue, self._reconcile, name="deployments", workers=WORKERS)

    def _replica_set_changed(self, key: Key) -> None:
        for affected in self._concerned.by(key):
            self._queue.add(affected)

    async def _reconcile(self, key: Key) -> None:
        deployment = self._views.deployments.get(*key)
        if deployment is None:
            self._ages.forget(("progress", key))
            return
        with contextlib.suppress(NotFoundError):  # it was deleted meanwhile
            await self._bring_about(deployment)

    async def _bring_about(self, deployment: Object) -> None:
        replica_sets = await self._claimed(deployment)
        if is_terminating(deployment):
            new, old = split(deployment, replica_sets)
            await self._write_status(deployment, current_status(deployment, new, old, now()))
            return
        if pause := pause_condition(deployment, now()):
            deployment = await self._write_condition(deployment, pause)
        deployment, new, old = await self._in_step(deployment, replica_sets)
        if is_paused(deployment) or is_scaling(deployment, replica_sets):
            await self._scale(deployment, new, old)
        elif is_rolling(deployment):
            await self._roll(deployment, new, old)
        else:
            await self._replace(deployment, new, old)

    async def _claimed(self, deployment: Object) -> list[Object]:
        """The Deployment's ReplicaSets, after adopting and releasing what its selector says."""
        namespace, uid = deployment["metadata"]["namespace"], deployment["metadata"]["uid"]
        orphans = self._views.replica_set_orphans(namespace)
        replica_sets = [*self._views.replica_sets_of(uid), *orphans]
        found = await claim(self._cluster, DEPLOYMENT, deployment, REPLICA_SET, replica_sets)
        return list(found.owned)  # what was adopted comes back by the informer

    async def _in_step(
        self, deployment: Object, replica_sets: Sequence[Object]
    ) -> tuple[Object, Object | None, list[Object]]:
        """The new ReplicaSet has the annotations of the Deployment, and this the revision of the ReplicaSet."""
        new, old = split(deployment, replica_sets)
        if new is None:
            return deployment, None, old
        if due := brought_up_to_date(new, deployment, old):
            return deployment, await self._cluster.update(REPLICA_SET, due), old
        found = None
        if deadline_s(deployment) is not None and condition_of(deployment, PROGRESSING) is None:
            message = f'Found new replica set "{new["metadata"]["name"]}"'
            found = new_condition(PROGRESSING, "True", "FoundNewReplicaSet", message, now())
        return await self._write_revision(deployment, annotations_of(new).get(REVISION, ""), found), new, old

    async def _scale(self, deployment: Object, new: Object | None, old: list[Object]) -> None:
        replica_sets = [*old, new] if new else old
        await self._resize(deployment, replica_sets, scale(deployment, new, old))
        if is_paused(deployment):
            await self._clean_up(deployment, old)
        await self._write_status(deployment, current_status(deployment, new, old, now()))

    async def _roll(self, deployment: Object, new: Object | None, old: list[Object]) -> None:
        if new is None:
            await self._make(deployment, old)
            return
        resized_any = await self._resize(deployment, [*old, new], rolling_step(deployment, new, old))
        await self._finish(deployment, new, old, settled=not resized_any)

    async def _replace(self, deployment: Object, new: Object | None, old: list[Object]) -> None:
        resized_any = await self._resize(deployment, old, recreate_step(old))
        if resized_any or self._old_pods_run(old):
            await self._finish(deployment, new, old, settled=False)
        elif new is None:
            await self._make(deployment, old)
        else:
            await self._resize(deployment, [new], [Resize(new["metadata"]["name"], replicas(deployment))])
            await self._finish(deployment, new, old, settled=True)

    def _old_pods_run(self, old: Sequence[Object]) -> bool:
        if total_counted(old, "replicas"):
            return True
        return any(not is_ended(pod) for entry in old for pod in self._views.pods_of(entry["metadata"]["uid"]))

    async def _make(self, deployment: Object, old: list[Object]) -> None:
        """Create the new ReplicaSet. The informer tells when it is there, and the work goes on then."""
        wanted = new_replica_set(deployment, old, first_size(deployment, old))
        name = wanted["metadata"]["name"]
        try:
            await self._cluster.create(REPLICA_SET, wanted)
        except AlreadyExistsError:
            await self._resolve_collision(deployment, wanted)
            return
        except KubeError as error:
            await self._report_failure(deployment, f'Failed to create new replica set "{name}": {error}')
            raise
        if size := replicas(wanted):
            self._emit(deployment, "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size}")
        created = None
        if deadline_s(deployment) is not None:
            message = f'Created new replica set "{name}"'
            created = new_condition(PROGRESSING, "True", "NewReplicaSetCreated", message, now())
        await self._write_revision(deployment, annotations_of(wanted)[REVISION], created)

    async def _resolve_collision(self, deployment: Object, wanted: Object) -> None:
        """The name is taken: by a ReplicaSet of ours that we do not see yet, or by one whose template is another."""
        namespace, name = key_of(wanted)
        there = await self._cluster.get(REPLICA_SET, name, namespace)
        controller, template = controller_of(there), deployment["spec"]["template"]
        ours = controller is not None and controller["uid"] == deployment["metadata"]["uid"]
        if not (ours and is_of_template(there, template)):
            status = deployment.get("status") or {}
            await self._write_status(deployment, {**status, "collisionCount": status.get("collisionCount", 0) + 1})

    async def _report_failure(self, deployment: Object, message: str) -> None:
        self._emit(deployment, "ReplicaSetCreateError", message, warning=True)
        if deadline_s(deployment) is not None:
            condition = new_condition(PROGRESSING, "False", "ReplicaSetCreateError", message, now())
            with contextlib.suppress(ConflictError):
                await self._write_condition(deployment, condition)

    async def _resize(self, deployment: Object, replica_sets: Sequence[Object], steps: Sequence[Resize]) -> bool:
        """Carry the steps out; return whether any ReplicaSet changed its size."""
        current = {entry["metadata"]["name"]: entry for entry in replica_sets}
        changed = False
        for step in steps:
            before = replicas(current[step.name])
            wanted = resized(current[step.name], deployment, step.replicas)
            if wanted is None:
                continue
            current[step.name] = await self._cluster.update(REPLICA_SET, wanted)
            if before != step.replicas:
                changed = True
                direction = "up" if step.replicas > before else "down"
                message = f"Scaled {direction} replica set {step.name} from {before} to {step.replicas}"
                self._emit(deployment, "ScalingReplicaSet", message)
        return changed

    async def _finish(self, deployment: Object, new: Object | None, old: list[Object], *, settled: bool) -> None:
        """Write the status; when the update was `settled`, drop what the history need not keep any more."""
        if settled and is_complete(deployment, deployment.get("status") or {}):
            await self._clean_up(deployment, old)
        age_s = self._progress_age_s(deployment)
        status = rollout_status(deployment, new, old, age_s, now())
        if await self._write_status(deployment, status):
            if is_progressing(deployment.get("status") or {}, status):
                self._ages.forget(("progress", key_of(deployment)))
            return
        due_s = check_after_s(deployment, status, age_s)
        if due_s is not None:
            self._queue.add_after(key_of(deployment), due_s * self._time_scale)

    async def _clean_up(self, deployment: Object, old: Sequence[Object]) -> None:
        for replica_set in outlived(deployment, old):
            namespace, name = key_of(replica_set)
            with contextlib.suppress(NotFoundError):
                await self._cluster.delete(REPLICA_SET, name, namespace)

    async def _write_revision(self, deployment: Object, revision: str, condition: Object | None) -> Object:
        """Note the revision in the Deployment's annotation, with a condition if there is one to tell."""
        annotations = annotations_of(deployment)
        if condition is None and annotations.get(REVISION) == revision:
            return deployment
        metadata = {**deployment["metadata"], "annotations": {**annotations, REVISION: revision}}
        noted = {**deployment, "metadata": metadata}
        if condition is not None:
            return await self._write_condition(noted, condition)
        return await self._cluster.update_status(DEPLOYMENT, noted)

    async def _write_condition(self, deployment: Object, condition: Object) -> Object:
        status = deployment.get("status") or {}
        conditions = with_condition(status.get("conditions") or [], condition)
        changed = {**deployment, "status": {**status, "conditions": conditions}}
        return await self._cluster.update_status(DEPLOYMENT, changed)

    async def _write_status(self, deployment: Object, status: Object) -> bool:
        """Write the status if it changed, and return whether it did."""
        if status == (deployment.get("status") or {}):
            return False
        await self._cluster.update_status(DEPLOYMENT, {**deployment, "status": status})
        return True

    def _progress_age_s(self, deployment: Object) -> float:
        progress = condition_of(deployment, PROGRESSING)
        stamp = progress.get("lastUpdateTime") if progress else None
        return self._ages.age_s(("progress", key_of(deployment)), stamp)

    def _emit(self, deployment: Object, reason: str, message: str, *, warning: bool = False) -> None:
        about = {"kind": DEPLOYMENT.kind, "apiVersion": DEPLOYMENT.api_version, **deployment}
        self._recorder.emit(about, reason, message, kind="Warning" if warning else "Normal", source=SOURCE)
