"""Where the files of a pod's volumes come from: waited for as long as need be, and told about meanwhile."""

import asyncio
import base64

from simulator.errors import KubeError, NotFoundError
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import CONFIG_MAP, SECRET, Object
from simulator.kubelet.context import PodContext
from simulator.kubelet.environment import pod_field
from simulator.kubelet.image_pull import RESYNC_PERIOD_S
from simulator.kubelet.security import volume_group
from simulator.kubelet.volume_files import write_files
from simulator.kubelet.volumes import FileSource, FileVolume, file_volumes


async def fill_volumes(context: PodContext, cluster: Cluster, secrets: Informer) -> None:
    """Fill the pod's volumes that hold files, one after the other; return when all are there.

    What a Secret or ConfigMap holds when the pod starts is what the pod gets: a later change does not reach it.
    """
    for volume in file_volumes(context.pod):
        files: dict[str, bytes] = {}
        for source in volume.sources:
            files |= await _files(source, volume, context, cluster, secrets)
        write_files(
            context.volumes[volume.name],
            files,
            volume.mode,
            volume_group(context.pod),
            separate_users=context.node.separate_users,
        )


async def _files(
    source: FileSource, volume: FileVolume, context: PodContext, cluster: Cluster, secrets: Informer
) -> dict[str, bytes]:
    if source.kind == "DownwardAPI":
        return {path: (pod_field(context.pod, field) or "").encode() for field, path in source.paths or ()}
    while True:
        found = await _object(source, volume, context, cluster, secrets)
        content = _content(found) if found else {}
        wanted = tuple((key, key) for key in content) if source.paths is None else source.paths
        missing = [key for key, _ in wanted if key not in content]
        if not missing or source.optional:
            return {path: content[key] for key, path in wanted if key in content}
        _tell(context, volume, f"references non-existent {source.kind.lower()} key: {missing[0]}")
        await asyncio.sleep(RESYNC_PERIOD_S * context.node.time_scale)


def _content(found: Object) -> dict[str, bytes]:
    texts, encoded = found.get("data") or {}, found.get("binaryData") or {}
    if found.get("kind") == SECRET.kind or "type" in found:
        texts, encoded = {}, texts
    return {key: value.encode() for key, value in texts.items()} | {
        key: base64.b64decode(value) for key, value in encoded.items()
    }


async def _object(
    source: FileSource, volume: FileVolume, context: PodContext, cluster: Cluster, secrets: Informer
) -> Object | None:
    """The Secret or ConfigMap; None if it need not be there and is not."""
    namespace = context.namespace

    def find(informer: Informer) -> Object | None:
        return informer.get(namespace, source.name)

    if source.kind == "Secret" and (known := find(secrets)) is not None:
        return {**known, "kind": SECRET.kind}
    kind = SECRET if source.kind == "Secret" else CONFIG_MAP
    while True:
        try:
            # The copy may lag behind: a Secret that was made just before the pod is there, and not missing.
            return {**await cluster.get(kind, source.name, namespace), "kind": kind.kind}
        except NotFoundError:
            problem = f'{source.kind.lower()} "{source.name}" not found'
        except KubeError as error:
            problem = f"couldn't get {source.kind.lower()} {namespace}/{source.name}: {error}"
        if source.optional:
            return None
        _tell(context, volume, problem)
        if source.kind == "Secret":
            return {**await secrets.wait_for(find, None), "kind": SECRET.kind}
        await asyncio.sleep(RESYNC_PERIOD_S * context.node.time_scale)


def _tell(context: PodContext, volume: FileVolume, problem: str) -> None:
    context.emit("FailedMount", f'MountVolume.SetUp failed for volume "{volume.name}" : {problem}', "Warning")
