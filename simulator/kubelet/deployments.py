"""The controller that turns Deployments into pods and writes their status."""

import asyncio

from simulator.errors import AlreadyExistsError, NotFoundError
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer, Key, key_of
from simulator.kube.kinds import DEPLOYMENT, POD, Object
from simulator.kube.workqueue import WorkQueue, run_controller
from simulator.kubelet.deployment_status import deployment_status
from simulator.kubelet.events import EventRecorder
from simulator.kubelet.pod_status import status_patch
from simulator.kubelet.pods import is_terminating, new_pod, owned_by, plan_pods
from simulator.kubelet.timestamps import format_time, now

SOURCE = "deployment-controller"
WORKERS = 4
UNSEEN_S = 30.0


class DeploymentController:
    """Keeps each Deployment's pods as it wants them, from the two informers' copies."""

    def __init__(self, cluster: Cluster, deployments: Informer, pods: Informer, recorder: EventRecorder) -> None:
        self._cluster = cluster
        self._deployments = deployments
        self._pods = pods
        self._recorder = recorder
        self._queue: WorkQueue[Key] = WorkQueue()
        self._owners: dict[Key, Key] = {}  # by pod
        self._unseen: dict[Key, Object] = {}  # made or marked by us, and not yet so in the informer's copy
        deployments.on_change(self._queue.add)
        pods.on_change(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled; both informers must be running."""
        await run_controller(self._queue, self._reconcile, name="deployments", workers=WORKERS)

    def _pod_changed(self, key: Key) -> None:
        pod, unseen = self._pods.get(*key), self._unseen.get(key)
        if unseen is not None and (pod is None or _as_new(pod, unseen)):
            del self._unseen[key]
        if pod is not None and (owner := _owner(pod)):
            self._owners[key] = owner
        if owner := self._owners.get(key):
            self._queue.add(owner)
        if pod is None:
            self._owners.pop(key, None)

    async def _reconcile(self, key: Key) -> None:
        deployment = self._deployments.get(*key)
        if deployment is None or deployment["metadata"].get("deletionTimestamp"):
            return  # the API server's garbage collector deletes the pods
        plan = plan_pods(deployment, self._pods_of(deployment))
        for _ in range(plan.create):
            await self._create(deployment)
        for name in plan.delete:
            await self._delete(deployment, name)
        before = deployment.get("status") or {}
        after = deployment_status(deployment, self._pods_of(deployment), now())
        if patch := status_patch(before, after):
            namespace, name = key
            try:
                await self._cluster.patch_status(DEPLOYMENT, name, {"status": patch}, namespace)
            except NotFoundError:
                return

    def _pods_of(self, deployment: Object) -> list[Object]:
        known = {key_of(pod): pod for pod in self._pods.objects()}
        return owned_by(deployment, (known | self._unseen).values())

    async def _create(self, deployment: Object) -> None:
        try:
            pod = await self._cluster.create(POD, new_pod(deployment))
        except AlreadyExistsError:
            self._queue.add(key_of(deployment))  # the random name was taken
            return
        self._owners[key_of(pod)] = key_of(deployment)
        self._note(pod)
        self._emit(deployment, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")

    async def _delete(self, deployment: Object, name: str) -> None:
        namespace = deployment["metadata"]["namespace"]
        try:
            await self._cluster.delete(POD, name, namespace)
        except NotFoundError:
            return
        if pod := self._pods.get(namespace, name):
            self._note({**pod, "metadata": {"deletionTimestamp": format_time(now()), **pod["metadata"]}})
        self._emit(deployment, "SuccessfulDelete", f"Deleted pod: {name}")

    def _note(self, pod: Object) -> None:
        key = key_of(pod)
        seen = self._pods.get(*key)
        if seen is None or not _as_new(seen, pod):
            self._unseen[key] = pod
            # Should the change pass the informer by, in a break of its watch, the copy is right again by then.
            asyncio.get_running_loop().call_later(UNSEEN_S, self._pod_changed_late, key, pod)

    def _pod_changed_late(self, key: Key, pod: Object) -> None:
        if self._unseen.get(key) is pod:
            del self._unseen[key]
            self._pod_changed(key)

    def _emit(self, deployment: Object, reason: str, message: str) -> None:
        about = {"kind": DEPLOYMENT.kind, "apiVersion": DEPLOYMENT.api_version, **deployment}
        self._recorder.emit(about, reason, message, source=SOURCE)


def _owner(pod: Object) -> Key | None:
    for reference in pod["metadata"].get("ownerReferences") or ():
        if reference["kind"] == DEPLOYMENT.kind:
            return pod["metadata"]["namespace"], reference["name"]
    return None


def _as_new(pod: Object, ours: Object) -> bool:
    """Whether the informer's copy has caught up with what we did to the pod."""
    return is_terminating(pod) or not is_terminating(ours)
