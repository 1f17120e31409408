"""The pods of a unit, through the Kubernetes API, as faults and scenarios need them."""

from simulator.errors import PlatformError, WaitTimeoutError
from simulator.gpuunit import ACTIVE_NAMESPACE, UNIT_LABEL
from simulator.install.installation import running
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import POD, Object


async def pod_of(cluster: Cluster, unit: str) -> Object:
    """The unit's pod.

    Raises:
        PlatformError: it has none that is not just ending.
        KubeError: the cluster does not tell.
    """
    for pod in await cluster.list(POD, ACTIVE_NAMESPACE, {UNIT_LABEL: unit}):
        if not pod["metadata"].get("deletionTimestamp"):
            return pod
    raise PlatformError(f"unit {unit} has no pod; look with 'kubectl describe gpuunit {unit} -n {ACTIVE_NAMESPACE}'")


async def kill_pod(cluster: Cluster, unit: str) -> None:
    """Delete the unit's pod without grace. Raises PlatformError, KubeError."""
    pod = await pod_of(cluster, unit)
    await cluster.delete(POD, pod["metadata"]["name"], ACTIVE_NAMESPACE, grace_period_s=0)


async def wait_until_restarted(cluster: Cluster, unit: str, container: str, timeout_s: float) -> None:
    """Wait until a container of the unit's pod was started again.

    Raises:
        WaitTimeoutError: not within `timeout_s` seconds.
    """
    pods = Informer(cluster, POD, ACTIVE_NAMESPACE, labels={UNIT_LABEL: unit})

    def restarted(copy: Informer) -> bool | None:
        return any(_runs_again(pod, container) for pod in copy.objects()) or None

    try:
        async with running([pods]):
            await pods.wait_for(restarted, timeout_s)
    except TimeoutError as error:
        raise WaitTimeoutError(f"{container} of unit {unit} was not started again within {timeout_s:g} s") from error


def _runs_again(pod: Object, container: str) -> bool:
    """Whether this container has ended before, and runs."""
    status = pod.get("status") or {}
    entries = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return any(each["name"] == container and each["restartCount"] and "running" in each["state"] for each in entries)
