"""The unmodified kubectl, in a recorded session: the same exit codes and the same output, but for the list below."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from simulator.controllers.controllers import Controllers
from simulator.kube.client import Cluster
from simulator.kube.crds import with_crd_defaults
from simulator.kube.kinds import NAMESPACE as NAMESPACES
from simulator.kube.server import KubeServer
from simulator.kubelet.images import ImageTable, Missing, not_found
from simulator.kubelet.kubelet import DEFAULT_TIME_SCALE, Kubelet
from simulator.nodes import NodeSpec, register_nodes
from simulator.processes.spawn import Processes
from tests.e2e.kubectl_session import NAMESPACE, KubectlSession, WatchedStore, recorded_session
from tests.kubectl import RELEASE

pytestmark = pytest.mark.e2e

NODE = "node-1"
ABSENT = "127.0.0.1:5999/absent:1"
DEFINITION = Path(__file__).parents[1] / "kube" / "golden" / "gpuunit-crd.yaml"
FIDELITY = Path(__file__).parents[2] / "docs" / "fidelity.md"
KNOWN_DIFFERENCES = {
    3: "two of the kinds, DaemonSet and ControllerRevision, are not served",
    65: "container ids and image ids: there is no container runtime",
    72: "the time scale is shorter: the pod whose image is missing has got as far as `ImagePullBackOff`",
}
"""By the number of the command."""


@pytest.fixture
async def session(kubectl_binary: Path, tmp_path: Path) -> AsyncIterator[KubectlSession]:
    """A cluster of one node, with controllers and a kubelet, and the definition that was installed then."""
    store = WatchedStore(definitions=[with_crd_defaults(yaml.safe_load(DEFINITION.read_text()))])
    store.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    kubeconfig = tmp_path / "kubeconfig"
    async with Processes() as processes, KubeServer(store) as server, asyncio.TaskGroup() as group:
        server.write_kubeconfig(kubeconfig)
        async with Cluster(kubeconfig, field_manager="test") as cluster:
            await register_nodes(cluster, [NodeSpec(NODE)])
            images = ImageTable({ABSENT: Missing(not_found(ABSENT))})
            kubelet = Kubelet(cluster, processes, tmp_path / "run", images, node_name=NODE)
            controllers = Controllers(cluster, DEFAULT_TIME_SCALE)
            tasks = [group.create_task(part.run()) for part in (kubelet, controllers)]
            try:
                yield KubectlSession(kubectl_binary, kubeconfig, tmp_path, store)
            finally:
                for task in tasks:
                    task.cancel()
                    await asyncio.wait([task])


async def test_the_recorded_session(session: KubectlSession) -> None:
    different: dict[int, list[str]] = {}
    commands = recorded_session()
    assert commands[0].stdout.startswith(f"Client Version: v{RELEASE}."), "recorded with another release"
    for command in commands:
        different |= await session.play(command)
    assert sorted(different) == [command.number for command in commands]
    surprises = {
        commands[number - 1].line: problems
        for number, problems in sorted(different.items())
        if problems and number not in KNOWN_DIFFERENCES
    }
    assert surprises == {}
    equal = [number for number in KNOWN_DIFFERENCES if not different[number]]
    assert equal == [], "these are answered equal now: take them off the list and off docs/fidelity.md"


def test_the_page_shows_the_session() -> None:
    commands = recorded_session()
    rows = [f"| `{commands[number - 1].line}` | {reason} |" for number, reason in KNOWN_DIFFERENCES.items()]
    page = FIDELITY.read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.startswith("| `kubectl ")] == rows
    assert f"{len(commands)} commands, {len(commands) - len(rows)} of them equal" in page
