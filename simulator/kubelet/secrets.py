"""Where the Secrets of a pod's volumes come from: waited for as long as need be, and told about meanwhile."""

from simulator.errors import KubeError, NotFoundError
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import SECRET, Object
from simulator.kubelet.context import PodContext
from simulator.kubelet.security import volume_group
from simulator.kubelet.volume_files import write_secret
from simulator.kubelet.volumes import SecretVolume, secret_volumes


async def fill_secret_volumes(context: PodContext, cluster: Cluster, secrets: Informer) -> None:
    """Fill the pod's Secret volumes, one after the other; return when all are there.

    What a Secret holds when the pod starts is what the pod gets: a later change does not reach it.
    """
    for volume in secret_volumes(context.pod):
        secret = await _secret(volume, context, cluster, secrets)
        write_secret(
            context.volumes[volume.name],
            secret,
            volume.mode,
            volume_group(context.pod),
            separate_users=context.node.separate_users,
        )


async def _secret(volume: SecretVolume, context: PodContext, cluster: Cluster, secrets: Informer) -> Object:
    namespace = context.pod["metadata"]["namespace"]

    def find(informer: Informer) -> Object | None:
        return informer.get(namespace, volume.secret)

    if (known := find(secrets)) is not None:
        return known
    try:
        # The copy may lag behind: a Secret that was made just before the pod is there, and not missing.
        return await cluster.get(SECRET, volume.secret, namespace)
    except NotFoundError:
        problem = f'secret "{volume.secret}" not found'
    except KubeError as error:
        problem = f"couldn't get secret {namespace}/{volume.secret}: {error}"
    context.emit("FailedMount", f'MountVolume.SetUp failed for volume "{volume.name}" : {problem}', "Warning")
    return await secrets.wait_for(find, None)
