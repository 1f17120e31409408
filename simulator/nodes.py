"""The nodes of the embedded cluster: what each of them has room for."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from simulator.errors import AlreadyExistsError
from simulator.kube.client import Cluster
from simulator.kube.kinds import NODE, Object

DEFAULT_NODE: Final = "local-node"
GPU: Final = "nvidia.com/gpu"


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node, and what pods may request of it in all: quantities, and numbers of pods and of GPUs.

    The defaults are beyond what this machine could run, so that no pod waits for room unless a test wants it to.
    """

    name: str = DEFAULT_NODE
    cpu: str = "1024"
    memory: str = "16Ti"
    pods: int = 5000
    gpus: int = 1024


def node_object(node: NodeSpec) -> Object:
    """The Node as it is in the API; a client has to write its status apart."""
    room = {"cpu": node.cpu, "memory": node.memory, "pods": str(node.pods)}
    if node.gpus:
        room[GPU] = str(node.gpus)
    return {
        "apiVersion": NODE.api_version,
        "kind": NODE.kind,
        "metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name}},
        "spec": {},
        "status": {
            "capacity": room,
            "allocatable": room,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "simulated"}],
        },
    }


async def register_nodes(cluster: Cluster, nodes: Iterable[NodeSpec]) -> None:
    """Make the nodes known to the cluster, or say anew what they have room for. Raises KubeError."""
    for node in nodes:
        wanted = node_object(node)
        with contextlib.suppress(AlreadyExistsError):
            await cluster.create(NODE, wanted)
        await cluster.patch_status(NODE, node.name, {"status": wanted["status"]})
