"""`kubectl logs` and `kubectl exec`, unmodified, with pods of the kubelet stand-in."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kubernetes import client, config
from kubernetes.stream import stream

from simulator.kube.kinds import POD, Object
from simulator.processes.descriptors import Descriptors, Output
from tests.kubelet.conftest import NAMESPACE, TIMEOUT_S, Bench

KUBECTL = shutil.which("kubectl")
SLEEP = "exec sleep 600"

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")]

Answer = tuple[int | None, str, str]


class Kubectl:
    """The kubectl of this machine, as the administrator of a bench's cluster."""

    def __init__(self, bench: Bench, home: Path) -> None:
        self._base = (str(KUBECTL), f"--kubeconfig={bench.kubeconfig}", f"--cache-dir={home}", f"-n={NAMESPACE}")

    async def __call__(self, *arguments: str, stdin: str | None = None) -> Answer:
        """Run it to its end: exit code, output, and standard error."""
        async with self.running(*arguments, stdin=asyncio.subprocess.PIPE) as process:
            out, err = await process.communicate(None if stdin is None else stdin.encode())
        return process.returncode, out.decode(), err.decode()

    @contextlib.asynccontextmanager
    async def running(self, *arguments: str, **streams: Any) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run it while the block lasts."""
        pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        process = await asyncio.create_subprocess_exec(*self._base, *arguments, **pipes | streams)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture
def kubectl(bench: Bench, tmp_path: Path) -> Kubectl:
    return Kubectl(bench, tmp_path / "kubectl")


async def run_pod(bench: Bench, *containers: Object, **spec: Any) -> None:
    """Make the pod `p`."""
    metadata = {"name": "p", "namespace": NAMESPACE, "labels": {"app": "p"}}
    body = {"containers": list(containers), "terminationGracePeriodSeconds": 1, **spec}
    await bench.cluster.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body})


async def run_ready_pod(bench: Bench, *containers: Object, **spec: Any) -> Object:
    """Make the pod `p`, and wait until it is ready."""
    await run_pod(bench, *containers, **spec)
    return await bench.pod("p", bench.is_ready)


def script(text: str, name: str = "main", **extra: Any) -> Object:
    return Bench.container(text, name, **extra)


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode()


async def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


async def test_logs_of_the_containers_of_a_pod(bench: Bench, kubectl: Kubectl) -> None:
    sidecar = script(f"echo beside; {SLEEP}", "side", restartPolicy="Always")
    await run_ready_pod(bench, script(f"echo one; echo two >&2; {SLEEP}"), initContainers=[sidecar])
    await bench.logged("main", 2)
    await bench.logged("side")

    assert (await kubectl("logs", "p"))[:2] == (0, "one\ntwo\n")
    assert await kubectl("logs", "p", "-c", "side") == (0, "beside\n", "")
    assert (await kubectl("logs", "p", "--tail=1"))[:2] == (0, "two\n")
    assert (await kubectl("logs", "p", "--tail=0"))[:2] == (0, "")
    assert (await kubectl("logs", "p", "--limit-bytes=5"))[:2] == (0, "one\nt")
    assert (await kubectl("logs", "p", "--since-time=2100-01-01T00:00:00Z"))[:2] == (0, "")
    assert (await kubectl("logs", "p", "--since=1h"))[:2] == (0, "one\ntwo\n")
    code, stamped, _ = await kubectl("logs", "p", "--timestamps")
    assert code == 0
    assert re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (one|two)\n){2}", stamped)
    assert await kubectl("logs", "p", "-p", "-c", "main") == (
        1,
        "",
        'Error from server (BadRequest): previous terminated container "main" in pod "p" not found\n',
    )


async def test_a_followed_log_tells_each_line_as_it_comes_and_ends_with_the_container(
    bench: Bench, kubectl: Kubectl
) -> None:
    waits = f"echo first; while [ ! -e go ]; do sleep 0.05; done; printf 'second\\nthird'; {SLEEP}"
    pod = await run_ready_pod(bench, script(waits), restartPolicy="Never")
    async with kubectl.running("logs", "-f", "p") as following:
        assert await line(following) == "first\n"
        (bench.directory / "pods" / pod["metadata"]["uid"] / "scratch/main/go").touch()
        assert await line(following) == "second\n"
        [container] = bench.kubelet.containers()
        assert container.pid is not None
        os.kill(container.pid, signal.SIGKILL)
        assert await line(following) == "third"
        assert await following.wait() == 0


async def test_the_log_of_the_run_before(bench: Bench, kubectl: Kubectl) -> None:
    await run_pod(bench, script(f"[ -e ran ] && echo again && {SLEEP}; touch ran; echo failed; exit 3"))
    await bench.pod("p", lambda pod: bench.state(pod)["restartCount"] == 1 and bench.is_ready(pod))
    await bench.logged("main")
    assert await kubectl("logs", "p") == (0, "again\n", "")
    assert await kubectl("logs", "p", "--previous") == (0, "failed\n", "")


async def test_while_a_container_waits_for_its_next_run_its_log_is_that_of_the_last(
    bench: Bench, kubectl: Kubectl
) -> None:
    await run_pod(bench, script("echo failed; exit 3"))
    await bench.pod("p", bench.waits_for("CrashLoopBackOff"))
    assert (await kubectl("logs", "p"))[:2] == (0, "failed\n")


async def test_there_is_no_log_of_a_container_that_never_ran(bench: Bench, kubectl: Kubectl) -> None:
    await run_pod(bench, {"name": "main", "image": "nobody/nothing:1"})
    await bench.pod("p", bench.waits_for("ImagePullBackOff"))
    code, out, err = await kubectl("logs", "p")
    assert (code, out) == (1, "")
    waiting = "(image can't be pulled|trying and failing to pull image)"
    told = f'Error from server \\(BadRequest\\): container "main" in pod "p" is waiting to start: {waiting}\n'
    assert re.fullmatch(told, err)


async def test_a_command_runs_as_the_container_does(bench: Bench, kubectl: Kubectl) -> None:
    environment = [{"name": "COLOUR", "value": "green"}]
    side = script(f"id -u > id; pwd > where; {SLEEP}", "side", restartPolicy="Always")
    await run_ready_pod(bench, script(SLEEP, env=environment), initContainers=[side])

    def said(text: str) -> tuple[str, ...]:
        return "sh", "-c", text

    assert (await kubectl("exec", "p", "-c", "main", "--", "echo", "$(COLOUR)")) == (0, "$(COLOUR)\n", "")
    told = await kubectl("exec", "p", "-c", "main", "--", *said("echo $COLOUR; echo wrong >&2"))
    assert told == (0, "green\n", "wrong\n")
    same = '[ "$(id -u)" = "$(cat id)" ] && [ "$(pwd)" = "$(cat where)" ]'
    assert await kubectl("exec", "p", "-c", "side", "--", *said(same)) == (0, "", "")
    assert (await kubectl("exec", "p", "-c", "main", "--", *said("exit 7")))[0] == 7
    assert (await kubectl("exec", "p", "-c", "main", "--", *said("kill -KILL $$")))[0] == 137
    code, out, err = await kubectl("exec", "p", "-c", "main", "--", "no-such-program")
    assert (code, out) == (1, "")
    assert 'exec: "no-such-program": executable file not found in $PATH: unknown' in err


async def test_a_command_reads_standard_input_to_its_end(bench: Bench, kubectl: Kubectl) -> None:
    await run_ready_pod(bench, script(SLEEP))
    text = "0123456789abcde\n" * 50_000
    assert await kubectl("exec", "-i", "p", "--", "cat", stdin=text) == (0, text, "")
    assert await kubectl("exec", "-i", "p", "--", "true", stdin=text) == (0, "", "")


async def test_a_command_at_a_terminal(bench: Bench, kubectl: Kubectl) -> None:
    await run_ready_pod(bench, script(SLEEP))
    with Descriptors() as descriptors:
        ours, terminal = descriptors.terminal()
        screen, shown = Output(ours), b""
        ask = "test -t 0 && test -t 2 && echo $TERM > /dev/tty; read answer; echo got $answer; exit 5"
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
        async with kubectl.running("exec", "-it", "p", "--", "sh", "-c", ask, **streams) as process:
            while b"xterm\r\n" not in shown:
                shown += await screen.read()
            os.write(ours, b"yes\r")
            while b"got yes\r\n" not in shown:
                shown += await screen.read()
            assert await process.wait() == 5


async def test_a_command_ends_with_its_client(bench: Bench, kubectl: Kubectl) -> None:
    await run_ready_pod(bench, script(SLEEP))
    async with kubectl.running("exec", "p", "--", "sh", "-c", f"trap '' HUP TERM; echo $$; {SLEEP}") as process:
        pid = int(await line(process))
        assert psutil.pid_exists(pid)
        process.kill()
    await bench.until(lambda: is_gone(pid))


async def test_a_command_leaves_no_job_behind(bench: Bench, kubectl: Kubectl) -> None:
    await run_ready_pod(bench, script(SLEEP))
    code, out, _ = await kubectl("exec", "p", "--", "bash", "-c", "set -m; sleep 600 & echo $!; exit 3")
    assert code == 3
    await bench.until(lambda: is_gone(int(out)))


async def test_a_command_ends_with_its_container(bench: Bench, kubectl: Kubectl) -> None:
    await run_ready_pod(bench, script(SLEEP), restartPolicy="Never")
    async with kubectl.running("exec", "p", "--", "sh", "-c", f"echo $$; {SLEEP}") as process:
        pid = int(await line(process))
        [container] = bench.kubelet.containers()
        assert container.pid is not None
        os.kill(container.pid, signal.SIGKILL)
        assert await process.wait() == 137
    await bench.until(lambda: is_gone(pid))


async def test_no_command_in_a_container_that_has_ended(bench: Bench, kubectl: Kubectl) -> None:
    await run_pod(bench, script("true", "done"), script(SLEEP), restartPolicy="Never")
    await bench.pod("p", lambda pod: "terminated" in bench.state(pod, 0)["state"])
    assert await kubectl("exec", "p", "-c", "done", "--", "true") == (
        1,
        "",
        'error: Internal error occurred: unable to upgrade connection: container not found ("done")\n',
    )


async def test_port_forward_and_attach_say_what_to_do_instead(bench: Bench, kubectl: Kubectl) -> None:
    await run_ready_pod(bench, script(SLEEP))
    code, _, err = await kubectl("port-forward", "p", "0:8091")
    assert (code, err.count("\n")) == (1, 1)
    assert "pods share this machine's network" in err
    code, _, err = await kubectl("attach", "p")
    assert code == 1
    assert "kubectl logs -f" in err


async def test_the_official_python_client_runs_a_command(bench: Bench) -> None:
    await run_ready_pod(bench, script(SLEEP))

    def run() -> tuple[str, str, int]:
        wanted = {"stdin": False, "stdout": True, "stderr": True, "tty": False, "_preload_content": False}
        command = ["sh", "-c", "echo out; echo err >&2; exit 4"]
        with config.new_client_from_config(str(bench.kubeconfig)) as connection:  # type: ignore[no-untyped-call]
            api = client.CoreV1Api(connection)
            socket = stream(api.connect_get_namespaced_pod_exec, "p", NAMESPACE, command=command, **wanted)
            try:
                socket.run_forever(timeout=TIMEOUT_S)
                return socket.read_stdout(), socket.read_stderr(), socket.returncode
            finally:
                socket.sock.shutdown()  # its own `close` leaves the connection open when the server has closed first

    assert await asyncio.to_thread(run) == ("out\n", "err\n", 4)
