"""The faults of a platform in a cluster: pods are deleted, processes get signals from inside, a policy is changed."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from copy import deepcopy
from functools import partial
from typing import Final

from simulator.errors import KubeError, NotFoundError, PlatformError, WaitTimeoutError
from simulator.gpuunit import ACTIVE_NAMESPACE, MANAGED_LABELS, RUNTIME_CONTAINER, SIDECAR_CONTAINER, UNIT_LABEL
from simulator.install.installation import running
from simulator.install.names import API, NATS, selector
from simulator.install.target import TargetCluster
from simulator.kube.conditions import true_condition_of
from simulator.kube.informer import Informer
from simulator.kube.kinds import NETWORK_POLICY, POD, Object
from simulator.processes.completion import complete
from simulator.targets.faults import Fault, Faults, Injection
from simulator.targets.place import Place
from simulator.targets.pods import kill_pod, pod_of

STAND_IN: Final = "process"
"""Scheme of container IDs of a cluster whose containers are processes of some machine."""
QUEUE_POD: Final = f"{NATS}-0"
QUEUE_POLICY: Final = f"gpuunit-sim-{NATS}"
QUEUE_GRACE_S: Final = 1
"""Its own grace period would first lead its clients elsewhere, for half a minute; without any, two servers could meet
on one volume."""
QUEUE_TIMEOUT_S: Final = 120.0

_END: Final = ("python3", "-c", "import os, signal; os.kill(1, signal.SIGTERM)")
"""The kernel keeps SIGKILL from the first process of a container when it comes from inside. All our images have Python;
not all have `kill`."""

NO_SIGNALS: Final = (
    "the cluster's containers are processes without a process namespace of their own, so a signal cannot be sent to a "
    "container's first process"
)
OPEN_QUEUE: Final = "no network policy keeps anybody from the queue: it was installed with --nats-node-port, or changed"


class ClusterFaults:
    """Makes faults happen in a cluster; what must be undone is undone when `cleanup` ends. `tell` hears what cannot."""

    def __init__(
        self, cluster: TargetCluster, place: Place, cleanup: AsyncExitStack, tell: Callable[[str], None]
    ) -> None:
        self._cluster = cluster
        self._place = place
        self._cleanup = cleanup
        self._tell = tell

    async def offered(self) -> Faults:
        """The faults that are possible in this cluster. Raises KubeError."""
        injections: dict[Fault, Injection] = {
            Fault.POD_KILLED: partial(kill_pod, self._cluster),
            Fault.SIDECAR_ENDS: partial(self._end, SIDECAR_CONTAINER),
            Fault.FRAMEWORK_ENDS: partial(self._end, RUNTIME_CONTAINER),
            Fault.QUEUE_RESTARTS: self._restart_queue,
            Fault.QUEUE_UNREACHABLE: self._cut_off,
        }
        refusals: dict[Fault, str] = {}
        if not guards_queue(await self._queue_policy()):
            refusals[Fault.QUEUE_UNREACHABLE] = OPEN_QUEUE
        parts = await self._cluster.list(POD, self._place.namespace, selector(API.name))
        if not any(has_process_namespace(pod, API.name) for pod in parts):
            ended = (Fault.SIDECAR_ENDS, Fault.FRAMEWORK_ENDS, Fault.QUEUE_UNREACHABLE)
            refusals |= dict.fromkeys(ended, NO_SIGNALS)
        return Faults(injections, refusals)

    async def _end(self, container: str, unit: str) -> None:
        pod = await pod_of(self._cluster, unit)
        if not has_process_namespace(pod, container):
            raise PlatformError(f"{container} of unit {unit}: {NO_SIGNALS}")
        name = pod["metadata"]["name"]
        await self._place.run_kubectl("exec", "--namespace", ACTIVE_NAMESPACE, name, "-c", container, "--", *_END)

    async def _restart_queue(self, _unit: str) -> None:
        namespace = self._place.namespace
        before = (await self._cluster.get(POD, QUEUE_POD, namespace))["metadata"]["uid"]
        pods = Informer(self._cluster, POD, namespace, labels=selector(NATS))

        def back(copy: Informer) -> bool | None:
            pod = copy.get(namespace, QUEUE_POD)
            return (
                pod is not None and pod["metadata"]["uid"] != before and true_condition_of(pod, "Ready") is not None
            ) or None

        try:
            async with running([pods]):
                await self._cluster.delete(POD, QUEUE_POD, namespace, grace_period_s=QUEUE_GRACE_S)
                await pods.wait_for(back, QUEUE_TIMEOUT_S)
        except TimeoutError as error:
            raise WaitTimeoutError(
                f"the queue's pod {QUEUE_POD} was not Ready again within {QUEUE_TIMEOUT_S:g} s; look with "
                f"'kubectl describe pod -n {namespace} {QUEUE_POD}'"
            ) from error

    async def _cut_off(self, unit: str) -> None:
        policy = await self._queue_policy()
        if policy is None:
            raise PlatformError(f"the network policy {QUEUE_POLICY} is gone")
        self._cleanup.push_async_callback(self._put_back, policy)
        await self._cluster.apply_object(without_unit(policy, unit))
        # A policy is asked only when a connection is made: the one that is there must go.
        await self._end(SIDECAR_CONTAINER, unit)

    async def _queue_policy(self) -> Object | None:
        """The queue's policy, as it can be applied; None if there is none."""
        try:
            found = await self._cluster.get(NETWORK_POLICY, QUEUE_POLICY, self._place.namespace)
        except NotFoundError:
            return None
        metadata = {name: found["metadata"][name] for name in ("name", "namespace", "labels")}
        head = {"apiVersion": NETWORK_POLICY.api_version, "kind": NETWORK_POLICY.kind}
        return {**head, "metadata": metadata, "spec": found["spec"]}

    async def _put_back(self, policy: Object) -> None:
        try:
            await complete(self._cluster.apply_object(policy))
        except KubeError as error:
            self._tell(
                f"left changed: the network policy {QUEUE_POLICY} ({error}); put it back with the 'unitsim kube "
                f"install --context {self._place.context}' that made it"
            )


def has_process_namespace(pod: Object, container: str) -> bool:
    """Whether the container runs, and sees its own processes only, so that process 1 is its first (see `STAND_IN`)."""
    status = pod.get("status") or {}
    entries = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    ids = (str(each.get("containerID", "")) for each in entries if each["name"] == container)
    scheme = next(ids, "").partition("://")[0]
    return bool(scheme) and scheme != STAND_IN and not pod["spec"].get("shareProcessNamespace")


def without_unit(policy: Object, unit: str) -> Object:
    """The queue's policy, changed so that it lets in all pods that it did but those of one unit."""
    changed = deepcopy(policy)
    for peer in _unit_peers(changed):
        expressions = peer["podSelector"].setdefault("matchExpressions", [])
        expressions.append({"key": UNIT_LABEL, "operator": "NotIn", "values": [unit]})
    return changed


def guards_queue(policy: Object | None) -> bool:
    """Whether units come in by a rule for them alone, and not by one for everybody."""
    rules = policy["spec"].get("ingress") or [] if policy else []
    return bool(rules) and all(rule.get("from") for rule in rules) and bool(_unit_peers(policy))


def _unit_peers(policy: Object | None) -> list[Object]:
    rules = policy["spec"].get("ingress") or [] if policy else []
    peers = [peer for rule in rules for peer in rule.get("from") or ()]
    return [each for each in peers if (each.get("podSelector") or {}).get("matchLabels") == MANAGED_LABELS]
