"""The nodes of the embedded cluster: what each of them has room for."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from simulator.errors import AlreadyExistsError, UsageError
from simulator.kube.builtin.formats import subdomain
from simulator.kube.builtin.quantities import parse_quantity
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


RESOURCES: Final = ("cpu", "memory", "pods", "gpus")


def parse_nodes(texts: Iterable[str]) -> tuple[NodeSpec, ...]:
    """Read nodes in the form `NAME[:RESOURCE=AMOUNT,...]`, as `gpu-a:gpus=2,cpu=8,memory=32Gi,pods=20`.

    Raises:
        UsageError: one has another form, or a name that was given before.
    """
    nodes = [_parse_node(text) for text in texts]
    names = [node.name for node in nodes]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"the node {name} was given twice")
    return tuple(nodes)


def _parse_node(text: str) -> NodeSpec:
    name, colon, room = text.partition(":")
    if subdomain(name):
        raise UsageError(f"{text!r}: a node's name has lower case letters, digits, '-' and '.' only")
    amounts: dict[str, str] = {}
    for entry in room.split(",") if colon else ():
        resource, _, amount = entry.partition("=")
        if resource not in RESOURCES or resource in amounts:
            raise UsageError(
                f"{text!r} must have the form NAME:RESOURCE=AMOUNT,... with {', '.join(RESOURCES)}, each once"
            )
        amounts[resource] = _checked(text, resource, amount)
    default = NodeSpec()
    return NodeSpec(
        name,
        cpu=amounts.get("cpu", default.cpu),
        memory=amounts.get("memory", default.memory),
        pods=int(amounts.get("pods", default.pods)),
        gpus=int(amounts.get("gpus", default.gpus)),
    )


def _checked(text: str, resource: str, amount: str) -> str:
    try:
        quantity = parse_quantity(amount)
    except ValueError:
        raise UsageError(f"{text!r}: {amount!r} is no quantity, such as 8, 500m or 32Gi") from None
    if quantity.amount < 0 or (resource in ("pods", "gpus") and not amount.isdecimal()):
        raise UsageError(f"{text!r}: {resource} must be a number from 0 on")
    return amount


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
