"""`kubectl logs` and `kubectl exec`, unmodified, with pods of the kubelet stand-in."""

import asyncio
import os
import re
import signal

import psutil
import pytest
from kubernetes import client, config
from kubernetes.stream import stream
from kubernetes.stream.ws_client import create_websocket

from simulator.processes.descriptors import Descriptors, Output
from tests.kubelet.conftest import NAMESPACE, Bench
from tests.kubelet.kubectl_streams import SLEEP, TIMEOUT_S, Kubectl, line

pytestmark = pytest.mark.e2e


async def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


async def test_logs_of_the_containers_of_a_pod(bench: Bench, kubectl: Kubectl) -> None:
    sidecar = bench.container(f"echo beside; {SLEEP}", "side", restartPolicy="Always")
    await bench.run_ready_pod(bench.container(f"echo one; echo two >&2; {SLEEP}"), initContainers=[sidecar])
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
    pod = await bench.run_ready_pod(bench.container(waits), restartPolicy="Never")
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
    await bench.run_pod(bench.container(f"[ -e ran ] && echo again && {SLEEP}; touch ran; echo failed; exit 3"))
    await bench.pod("p", lambda pod: bench.state(pod)["restartCount"] == 1 and bench.is_ready(pod))
    await bench.logged("main")
    assert await kubectl("logs", "p") == (0, "again\n", "")
    assert await kubectl("logs", "p", "--previous") == (0, "failed\n", "")


async def test_while_a_container_waits_for_its_next_run_its_log_is_that_of_the_last(
    bench: Bench, kubectl: Kubectl
) -> None:
    await bench.run_pod(bench.container("echo failed; exit 3"))
    await bench.pod("p", bench.waits_for("CrashLoopBackOff"))
    assert (await kubectl("logs", "p"))[:2] == (0, "failed\n")


async def test_there_is_no_log_of_a_container_that_never_ran(bench: Bench, kubectl: Kubectl) -> None:
    await bench.run_pod({"name": "main", "image": "nobody/nothing:1"})
    await bench.pod("p", bench.waits_for("ImagePullBackOff"))
    code, out, err = await kubectl("logs", "p")
    assert (code, out) == (1, "")
    waiting = "(image can't be pulled|trying and failing to pull image)"
    told = f'Error from server \\(BadRequest\\): container "main" in pod "p" is waiting to start: {waiting}\n'
    assert re.fullmatch(told, err)


async def test_a_command_runs_as_the_container_does(bench: Bench, kubectl: Kubectl) -> None:
    environment = [{"name": "COLOUR", "value": "green"}]
    side = bench.container(f"id -u > id; pwd > where; {SLEEP}", "side", restartPolicy="Always")
    await bench.run_ready_pod(bench.container(SLEEP, env=environment), initContainers=[side])

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
    await bench.run_ready_pod(bench.container(SLEEP))
    text = "0123456789abcde\n" * 50_000
    assert await kubectl("exec", "-i", "p", "--", "cat", stdin=text) == (0, text, "")
    assert await kubectl("exec", "-i", "p", "--", "true", stdin=text) == (0, "", "")


async def test_a_command_at_a_terminal(bench: Bench, kubectl: Kubectl) -> None:
    await bench.run_ready_pod(bench.container(SLEEP))
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
    await bench.run_ready_pod(bench.container(SLEEP))
    async with kubectl.running("exec", "p", "--", "sh", "-c", f"trap '' HUP TERM; echo $$; {SLEEP}") as process:
        pid = int(await line(process))
        assert psutil.pid_exists(pid)
        process.kill()
    await bench.until(lambda: is_gone(pid))


async def test_a_command_leaves_no_job_behind(bench: Bench, kubectl: Kubectl) -> None:
    await bench.run_ready_pod(bench.container(SLEEP))
    code, out, _ = await kubectl("exec", "p", "--", "bash", "-c", "set -m; sleep 600 & echo $!; exit 3")
    assert code == 3
    await bench.until(lambda: is_gone(int(out)))


async def test_a_command_ends_with_its_container(bench: Bench, kubectl: Kubectl) -> None:
    await bench.run_ready_pod(bench.container(SLEEP), restartPolicy="Never")
    async with kubectl.running("exec", "p", "--", "sh", "-c", f"echo $$; {SLEEP}") as process:
        pid = int(await line(process))
        [container] = bench.kubelet.containers()
        assert container.pid is not None
        os.kill(container.pid, signal.SIGKILL)
        assert await process.wait() == 137
    await bench.until(lambda: is_gone(pid))


async def test_no_command_in_a_container_that_has_ended(bench: Bench, kubectl: Kubectl) -> None:
    await bench.run_pod(bench.container("true", "done"), bench.container(SLEEP), restartPolicy="Never")
    await bench.pod("p", lambda pod: "terminated" in bench.state(pod, 0)["state"])
    assert await kubectl("exec", "p", "-c", "done", "--", "true") == (
        1,
        "",
        'error: Internal error occurred: unable to upgrade connection: container not found ("done")\n',
    )


async def test_a_command_with_a_nul_is_refused(bench: Bench) -> None:
    await bench.run_ready_pod(bench.container(SLEEP))
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/p/exec?command=a%00b&stdout=1"

    def run() -> str:
        with config.new_client_from_config(str(bench.kubeconfig)) as connection:  # type: ignore[no-untyped-call]
            headers = {"authorization": connection.configuration.get_api_key_with_prefix("BearerToken")}
            url = connection.configuration.host.replace("https", "wss") + path
            socket = create_websocket(connection.configuration, url, headers)  # type: ignore[no-untyped-call]
            try:
                return bytes(socket.recv()).decode()
            finally:
                socket.shutdown()

    told = await asyncio.to_thread(run)
    assert '"reason":"InternalError"' in told
    assert "unable to start container process" in told


async def test_the_official_python_client_runs_a_command(bench: Bench) -> None:
    await bench.run_ready_pod(bench.container(SLEEP))

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
