"""`kubectl port-forward`, unmodified, and the port-forwards of Python clients, with pods of the kubelet stand-in."""

import asyncio
import contextlib
import os
import re
import signal
import socket
from collections.abc import AsyncIterator

import kr8s
import pytest
from kr8s.asyncio.objects import Pod
from kubernetes import client, config
from kubernetes.stream import portforward

from simulator.kube.kinds import SERVICE, Object
from tests.kubelet.conftest import NAMESPACE, Bench
from tests.kubelet.kubectl_streams import TIMEOUT_S, Kubectl, line

pytestmark = pytest.mark.e2e

WEBSOCKETS = "KUBECTL_PORT_FORWARD_WEBSOCKETS"
SERVER = """
import os, socket, threading
listener = socket.create_server(("127.0.0.1", int(os.environ["SERVER_PORT"])))
def serve(connection):
    with connection:
        got = b""
        while data := connection.recv(1 << 16):
            got += data
            if got.startswith(b"bulk"):
                got = b""
                for _ in range(64):
                    connection.sendall(bytes(1 << 16))
                return
            if got.startswith(b"echo "):
                connection.sendall(data)
        connection.sendall(b"%d bytes" % len(got))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
"""Counts bytes up to the client's end; sends back what follows `echo `; sends 4 MiB after `bulk`."""
PORT = 8080


def server() -> Object:
    """A container that listens on port 8080 of its pod, whatever that is on this machine."""
    probe = {"tcpSocket": {"port": PORT}, "periodSeconds": 1, "failureThreshold": 30}
    ports = [{"name": "tcp", "containerPort": PORT}]
    return Bench.python(SERVER, env={"SERVER_PORT": str(PORT)}, readinessProbe=probe, ports=ports)


@contextlib.asynccontextmanager
async def forwarded(
    kubectl: Kubectl, target: str, port: int = PORT
) -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    """Forward a free local port, while the block lasts."""
    async with kubectl.running("port-forward", target, f":{port}", "--address=127.0.0.1") as process:
        said = await line(process)
        match = re.fullmatch(r"Forwarding from 127\.0\.0\.1:(\d+) -> \d+\n", said)
        assert match, said
        yield int(match[1]), process


async def exchange(port: int, text: bytes, *, end: bool = True) -> bytes:
    """Send, and read to the end."""
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(text)
        if end:
            writer.write_eof()
        try:
            return await reader.read()
        finally:
            writer.close()


@pytest.mark.parametrize("websockets", ["true", "false"])
async def test_connections_are_forwarded_both_ways(bench: Bench, kubectl: Kubectl, websockets: str) -> None:
    kubectl.environment[WEBSOCKETS] = websockets
    await bench.run_ready_pod(server())
    async with forwarded(kubectl, "pod/p") as (port, process):
        assert await exchange(port, b"x" * 1_000_000) == b"1000000 bytes"  # the client's end comes first
        assert len(await exchange(port, b"bulk", end=False)) == 4 << 20  # the pod's end comes first
        answers = await asyncio.gather(*(exchange(port, b"x" * number) for number in range(30)))
        assert answers == [b"%d bytes" % number for number in range(30)]
        assert process.returncode is None


async def test_a_connection_that_nobody_reads_does_not_keep_others_waiting(bench: Bench, kubectl: Kubectl) -> None:
    await bench.run_ready_pod(server())
    async with forwarded(kubectl, "pod/p") as (port, _), asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"echo one\n")
        assert await reader.readline() == b"echo one\n"
        assert await exchange(port, b"abc") == b"3 bytes"
        writer.write(b"two\n")
        assert await reader.readline() == b"two\n"
        writer.close()


async def test_a_deployment_and_a_service_stand_for_their_pods(bench: Bench, kubectl: Kubectl) -> None:
    await bench.apply("p", server())
    await bench.pod("p", bench.is_ready)
    ports = [{"port": 80, "targetPort": "tcp"}]
    metadata = {"name": "s", "namespace": NAMESPACE}
    await bench.cluster.create(
        SERVICE,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": "p"}, "ports": ports},
        },
    )
    for target, number in (("deployment/p", PORT), ("service/s", 80)):
        async with forwarded(kubectl, target, number) as (port, _):
            assert await exchange(port, b"abc") == b"3 bytes"


@pytest.mark.parametrize("websockets", ["true", "false"])
async def test_a_port_of_nobody_and_one_of_somebody_else_are_refused(
    bench: Bench, kubectl: Kubectl, websockets: str
) -> None:
    kubectl.environment[WEBSOCKETS] = websockets
    pod = await bench.run_ready_pod(server())
    with socket.create_server(("127.0.0.1", 0)) as others:
        number = others.getsockname()[1]
        async with forwarded(kubectl, "pod/p", number) as (port, process):
            with contextlib.suppress(ConnectionError):
                assert await exchange(port, b"abc") == b""
            assert process.stderr is not None
            said = (await process.stderr.read()).decode()
            assert await process.wait() == 1
    uid = pod["metadata"]["uid"]
    assert (
        f"error forwarding port {number} to pod {uid}, uid : failed to execute portforward in network namespace" in said
    )
    assert f"dial tcp4 127.0.0.1:{number}: connect: connection refused: no process of this pod listens" in said
    assert said.endswith("error: lost connection to pod\n")


async def test_connections_end_with_the_container(bench: Bench, kubectl: Kubectl) -> None:
    await bench.run_ready_pod(server(), restartPolicy="Never")
    async with forwarded(kubectl, "pod/p") as (port, _), asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"echo one\n")
        assert await reader.readline() == b"echo one\n"
        [container] = bench.kubelet.containers()
        assert container.pid is not None
        os.kill(container.pid, signal.SIGKILL)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_connections_end_with_their_client(bench: Bench, kubectl: Kubectl) -> None:
    """The server counts up to the end of its connection and says so in its log."""
    code = SERVER.replace('connection.sendall(b"%d bytes" % len(got))', 'print("counted", len(got), flush=True)')
    await bench.run_ready_pod({**server(), "command": [*server()["command"][:-1], code]})
    async with forwarded(kubectl, "pod/p") as (port, process), asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"echo one\n")
        assert await reader.readline() == b"echo one\n"
        process.kill()

        async def counted() -> bool:
            return "counted 9\n" in bench.log("main").read_text()  # those of 0 are the probe's

        await bench.until(counted)
        writer.close()


async def test_a_pod_that_does_not_run_yet_is_refused(bench: Bench, kubectl: Kubectl) -> None:
    await bench.run_pod({"name": "main", "image": "nobody/nothing:1"})
    await bench.pod("p", bench.waits_for("ImagePullBackOff"))
    code, _, said = await kubectl("port-forward", "p", ":80")
    assert (code, said) == (1, "error: unable to forward port because pod is not running. Current status=Pending\n")


@pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")
async def test_kr8s_forwards_a_port(bench: Bench) -> None:
    await bench.run_ready_pod(server())
    api = await kr8s.asyncio.api(kubeconfig=str(bench.kubeconfig))
    pod = await Pod.get("p", namespace=NAMESPACE, api=api)
    async with pod.portforward(remote_port=PORT, local_port="auto") as port, asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"echo one\n")
        assert await reader.readline() == b"echo one\n"
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"bulk")
        assert len(await reader.readexactly(4 << 20)) == 4 << 20
        writer.close()


async def test_the_official_python_client_forwards_a_port(bench: Bench) -> None:
    await bench.run_ready_pod(server())

    def run() -> tuple[bytes, str | None]:
        with config.new_client_from_config(str(bench.kubeconfig)) as connection:  # type: ignore[no-untyped-call]
            api = client.CoreV1Api(connection)
            forward = portforward(api.connect_get_namespaced_pod_portforward, "p", NAMESPACE, ports=str(PORT))
            with contextlib.closing(forward.socket(PORT)) as pod:
                pod.settimeout(TIMEOUT_S)
                pod.sendall(b"echo one\n")
                answer = pod.recv(100)
            return answer, forward.error(PORT)

    assert await asyncio.to_thread(run) == (b"echo one\n", None)
