"""Coming into a cluster: by kubectl, which may end at any time, or by a port of this machine that leads there."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulator.errors import EnvironmentMissing, NotFoundError, PlatformError
from simulator.kube.kinds import Kind, Object
from simulator.targets import ways_in
from simulator.targets.place import Place
from simulator.targets.port_forward import port_forward
from simulator.targets.ways_in import API_DOOR, QUEUE_DOOR, mapped

pytestmark = pytest.mark.e2e

KUBECTL = """#!{python}
import os, socket, sys
if "version" in sys.argv:
    print("Client Version: v1.36.0")
    sys.exit()
problem = os.environ.get("PROBLEM")
if problem:
    sys.exit("error: " + problem)
local, _, remote = sys.argv[-1].partition(":")
listener = socket.create_server(("127.0.0.1", int(local or 0)))
print(f"Forwarding from 127.0.0.1:{{listener.getsockname()[1]}} -> {{remote}}", flush=True)
client, _ = listener.accept()
client.sendall(" ".join(sys.argv[1:-1]).encode())
client.close()
sys.exit("error: lost connection to pod")
"""
"""A kubectl whose pod is lost with the first connection. It says to that one how it was called."""


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kubectl"
    path.write_text(KUBECTL.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "config", "desk")


async def answer(address: str) -> str:
    """What whoever listens there says, as soon as somebody does."""
    host, _, port = address.partition(":")
    async with asyncio.timeout(30):
        while True:
            try:
                reader, writer = await asyncio.open_connection(host, int(port))
                with contextlib.closing(writer):
                    if said := await reader.read():
                        return said.decode()
            except OSError:
                await asyncio.sleep(0.02)  # it is just started again


async def test_a_forward_that_ends_is_started_again_on_the_same_port(kubectl: Path, place: Place) -> None:
    async with port_forward(place, "nats", 4222) as address:
        said = [await answer(address) for _ in range(3)]
    assert set(said) == {
        f"--kubeconfig {place.kubeconfig} --context desk port-forward --namespace gpuunit-sim --address 127.0.0.1 "
        "service/nats"
    }
    with pytest.raises(ConnectionRefusedError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))


async def test_a_forward_that_never_listens_says_why(
    kubectl: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBLEM", 'services "nats" not found')
    with pytest.raises(PlatformError, match='service nats ended: error: services "nats" not found'):
        async with port_forward(place, "nats", 4222):
            pytest.fail("it was opened")


async def test_without_kubectl_it_is_said_how_to_get_it(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentMissing, match=r"kubectl .* is needed and not on the PATH: install it from"):
        async with port_forward(place, "nats", 4222):
            pytest.fail("it was opened")


async def test_kubectls_refusal_is_told(kubectl: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBLEM", "pods is forbidden")
    with pytest.raises(PlatformError, match="'kubectl exec' failed: error: pods is forbidden"):
        await place.run_kubectl("exec", "p")


class StubCluster:
    """A cluster with node ports for the API alone."""

    async def get(self, kind: Kind, name: str, namespace: str) -> Object:
        if name != API_DOOR.outside:
            raise NotFoundError("not found")
        return {"spec": {"ports": [{"port": 8080, "nodePort": 30080}]}}


@pytest.fixture
async def listening() -> AsyncIterator[int]:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The services that port-forwards are asked for; they come to no good."""
    asked: list[str] = []

    def ask(_place: Place, service: str, _port: int) -> None:
        asked.append(service)
        raise PlatformError("no forward here")

    monkeypatch.setattr(ways_in, "port_forward", ask)
    return asked


async def test_a_mapped_node_port_is_the_way_in(place: Place, listening: int, forwards: list[str]) -> None:
    async with mapped({30080: listening})(StubCluster(), place, API_DOOR) as address:  # type: ignore[arg-type]
        assert address == f"127.0.0.1:{listening}"
    assert forwards == []


async def test_else_it_is_forwarded(place: Place, listening: int, forwards: list[str]) -> None:
    """No mapping for the node port; none that answers; no node port at all, though the port would be mapped."""
    for ports, door in [
        ({30081: listening}, API_DOOR),
        ({30080: 1}, API_DOOR),
        ({30080: listening, 0: listening, 30422: listening}, QUEUE_DOOR),
    ]:
        with pytest.raises(PlatformError, match="no forward here"):
            async with mapped(ports)(StubCluster(), place, door):  # type: ignore[arg-type]
                pytest.fail("it was opened")
    assert forwards == ["gpuunit-sim-api", "gpuunit-sim-api", "nats"]
