"""Taking the platform out of a cluster, so that nothing of it is left."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from simulator.errors import KubeError, NotFoundError, WaitTimeoutError
from simulator.install.installation import Tell, running
from simulator.install.names import PLATFORM_LABELS
from simulator.install.target import TargetCluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CUSTOM_RESOURCE_DEFINITION,
    GPUUNIT,
    NAMESPACE,
    Kind,
    Object,
)

ORDER: Final = (GPUUNIT, NAMESPACE, CUSTOM_RESOURCE_DEFINITION, CLUSTER_ROLE_BINDING, CLUSTER_ROLE)
"""Units first, while there is who ends their pods in order. A namespace takes all that is in it along."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What of the platform is in a cluster, kind by kind in the order in which it goes."""

    objects: Mapping[Kind, list[Object]]

    def names(self) -> Iterator[str]:
        """A line for each."""
        for kind, objects in self.objects.items():
            for obj in objects:
                namespace = obj["metadata"].get("namespace")
                yield f"{kind.kind.lower()}/{f'{namespace}/' if namespace else ''}{obj['metadata']['name']}"


async def find_remains(cluster: TargetCluster) -> Remains:
    """Look for everything that an installation left, by its labels; units have none of these and are all found."""
    return Remains({kind: await _objects(cluster, kind) for kind in ORDER})


async def remove(cluster: TargetCluster, remains: Remains, tell: Tell, timeout_s: float) -> None:
    """Delete what was found, and wait until it is gone.

    Raises:
        WaitTimeoutError: something is still there after `timeout_s` seconds; the message names it.
    """
    left = ""
    try:
        async with asyncio.timeout(timeout_s):
            for kind, objects in remains.objects.items():
                for obj in objects:
                    left = f"{kind.kind} {obj['metadata']['name']}"
                    await _delete(cluster, kind, obj)
                    tell(f"deleting   {kind.kind.lower()}/{obj['metadata']['name']}")
                if objects:
                    left = f"{kind.kind} {', '.join(obj['metadata']['name'] for obj in objects)}"
                    await _gone(cluster, kind, objects)
    except TimeoutError as error:
        raise WaitTimeoutError(
            f"still there after {timeout_s:g} s: {left}; look for finalizers with 'kubectl get -o yaml', and run the "
            "command again"
        ) from error


async def _objects(cluster: TargetCluster, kind: Kind) -> list[Object]:
    try:
        return await cluster.list(kind, labels=_labels(kind))
    except NotFoundError:
        return []  # the kind itself is not there


async def _delete(cluster: TargetCluster, kind: Kind, obj: Object) -> None:
    try:
        await cluster.delete(kind, obj["metadata"]["name"], obj["metadata"].get("namespace"))
    except NotFoundError:
        return
    except KubeError as error:
        raise type(error)(f"cannot delete {kind.kind} {obj['metadata']['name']}: {error}") from error


async def _gone(cluster: TargetCluster, kind: Kind, objects: list[Object]) -> None:
    """Wait until none of these is there any more; another of the same name is another."""
    uids = {obj["metadata"]["uid"] for obj in objects}

    def all_gone(informer: Informer) -> bool | None:
        return not any(obj["metadata"]["uid"] in uids for obj in informer.objects()) or None

    informer = Informer(cluster, kind, labels=_labels(kind))
    async with running([informer]):
        await informer.synced()
        await informer.wait_for(all_gone, None)


def _labels(kind: Kind) -> Mapping[str, str] | None:
    return None if kind == GPUUNIT else PLATFORM_LABELS
