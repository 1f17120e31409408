"""`kubectl attach`, `kubectl run -i` and commands over SPDY, unmodified, with pods of the kubelet stand-in."""

import asyncio
import os
import re
import signal
from pathlib import Path

import psutil
import pytest

from simulator.processes.descriptors import Descriptors, Output, resize
from tests.kubelet.conftest import Bench
from tests.kubelet.kubectl_streams import SLEEP, Kubectl, line

pytestmark = pytest.mark.e2e

WEBSOCKETS = "KUBECTL_REMOTE_COMMAND_WEBSOCKETS"
ANSWERS = "while read line; do echo got $line; echo of $line >&2; done; echo done; exec sleep 600"


async def said(process: asyncio.subprocess.Process, count: int) -> list[str]:
    return [await line(process) for _ in range(count)]


def end_of(bench: Bench) -> None:
    """Kill the only container."""
    [container] = bench.kubelet.containers()
    assert container.pid is not None
    os.kill(container.pid, signal.SIGKILL)


@pytest.mark.parametrize("websockets", ["true", "false"])
async def test_what_a_container_writes_is_shown_to_its_end(bench: Bench, kubectl: Kubectl, websockets: str) -> None:
    kubectl.environment[WEBSOCKETS] = websockets
    script = "echo before; while [ ! -e go ]; do sleep 0.05; done; while [ -e go ]; do echo after; sleep 0.05; done"
    pod = await bench.run_ready_pod(bench.container(script), restartPolicy="Never")
    await bench.logged("main")
    async with kubectl.running("attach", "p") as process:
        (bench.directory / "pods" / pod["metadata"]["uid"] / "scratch/main/go").touch()
        assert await said(process, 2) == ["after\n", "after\n"]  # and nothing of before
        end_of(bench)
        assert await process.wait() == 0
    assert (await kubectl("logs", "p", "--limit-bytes=13"))[:2] == (0, "before\nafter\n")


@pytest.mark.parametrize("websockets", ["true", "false"])
async def test_a_container_reads_what_a_client_sends(bench: Bench, kubectl: Kubectl, websockets: str) -> None:
    kubectl.environment[WEBSOCKETS] = websockets
    await bench.run_ready_pod(bench.container(ANSWERS, stdin=True))
    for word in ("one", "two"):  # the second client finds the container as the first one left it
        async with kubectl.running("attach", "-i", "p", stdin=asyncio.subprocess.PIPE) as process:
            assert process.stdin is not None
            process.stdin.write(f"{word}\n".encode())
            assert await said(process, 2) == [f"got {word}\n", f"of {word}\n"]
            process.stdin.close()
    assert await bench.logged("main", 4) == "got one\nof one\ngot two\nof two\n"


async def test_with_stdin_once_the_input_ends_with_its_first_client(bench: Bench, kubectl: Kubectl) -> None:
    await bench.run_ready_pod(bench.container(ANSWERS, stdin=True, stdinOnce=True))
    async with kubectl.running("attach", "-i", "p", stdin=asyncio.subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"one\n")
        process.stdin.close()
        assert await said(process, 3) == ["got one\n", "of one\n", "done\n"]


async def test_a_container_without_input_is_not_given_any(bench: Bench, kubectl: Kubectl) -> None:
    await bench.run_ready_pod(bench.container(ANSWERS), restartPolicy="Never")
    assert await bench.logged("main") == "done\n"
    async with kubectl.running("attach", "-i", "p", stdin=asyncio.subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        assert b"prompt" in await process.stderr.readline()
        process.stdin.write(b"one\n")
        process.stdin.close()
        end_of(bench)
        assert process.stdout is not None
        assert await process.stdout.read() == b""


async def test_a_container_at_a_terminal(bench: Bench, kubectl: Kubectl) -> None:
    script = (
        "trap 'stty size' WINCH; test -t 0 && test -t 2 && echo $TERM; while :; do read line && echo got $line; done"
    )
    await bench.run_ready_pod(bench.container(script, stdin=True, tty=True))
    assert "xterm" in await bench.logged("main")
    with Descriptors() as descriptors:
        ours, terminal = descriptors.terminal()
        resize(ours, 97, 31)
        screen, shown = Output(ours), b""
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
        async with kubectl.running("attach", "-it", "p", **streams):
            while b"31 97\r\n" not in shown:
                shown += await screen.read()
            os.write(ours, b"yes\r")
            while b"got yes\r\n" not in shown:
                shown += await screen.read()


async def test_a_pod_that_is_run_and_attached_to_at_once(bench: Bench, kubectl: Kubectl) -> None:
    del bench
    command = ["sh", "-c", "read line; echo got $line; exit 3"]
    arguments = ["run", "-i", "--rm", "once", "--image=busybox:1", "--restart=Never", "--quiet", "--command", "--"]
    code, out, _ = await kubectl(*arguments, *command, stdin="hello\n")
    assert (code, "got hello\n" in out) == (3, True)


async def test_there_is_nothing_to_attach_to_in_a_container_that_has_ended(bench: Bench, kubectl: Kubectl) -> None:
    await bench.run_pod(bench.container("true", "done"), bench.container(SLEEP), restartPolicy="Never")
    await bench.pod("p", lambda pod: "terminated" in bench.state(pod, 0)["state"])
    code, out, err = await kubectl("attach", "p", "-c", "done")
    assert (code, out) == (1, "")
    assert "container done not found in pod p_default" in err


async def test_a_command_over_spdy(bench: Bench, kubectl: Kubectl) -> None:
    """kubectl before 1.31."""
    kubectl.environment[WEBSOCKETS] = "false"
    await bench.run_ready_pod(bench.container(SLEEP))
    told = await kubectl("exec", "p", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert told == (7, "out\n", "err\ncommand terminated with exit code 7\n")
    text = "0123456789abcde\n" * 50_000
    assert await kubectl("exec", "-i", "p", "--", "cat", stdin=text) == (0, text, "")
    async with kubectl.running("exec", "p", "--", "sh", "-c", f"trap '' HUP TERM; echo $$; {SLEEP}") as process:
        pid = int(await line(process))
        process.kill()

    async def is_gone() -> bool:
        return not psutil.pid_exists(pid)

    await bench.until(is_gone)


async def test_a_command_at_a_terminal_over_spdy(bench: Bench, kubectl: Kubectl) -> None:
    kubectl.environment[WEBSOCKETS] = "false"
    await bench.run_ready_pod(bench.container(SLEEP))
    with Descriptors() as descriptors:
        ours, terminal = descriptors.terminal()
        resize(ours, 97, 31)
        screen, shown = Output(ours), b""
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
        script = "until [ \"$(stty size)\" = '31 97' ]; do sleep 0.05; done; read answer; echo got $answer; exit 5"
        async with kubectl.running("exec", "-it", "p", "--", "sh", "-c", script, **streams) as process:
            os.write(ours, b"yes\r")
            while b"got yes\r\n" not in shown:
                shown += await screen.read()
            assert await process.wait() == 5


async def test_files_are_copied(bench: Bench, kubectl: Kubectl, tmp_path: Path) -> None:
    await bench.run_ready_pod(bench.container(SLEEP))
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(os.urandom(300_000))
    assert (await kubectl("cp", str(there), "p:copied"))[0] == 0
    assert (await kubectl("cp", "p:copied", str(back)))[0] == 0
    assert back.read_bytes() == there.read_bytes()


async def test_debug_containers_are_refused(bench: Bench, kubectl: Kubectl) -> None:
    await bench.run_ready_pod(bench.container(SLEEP))
    code, _, err = await kubectl("debug", "p", "--image=busybox:1", "--", "true")
    assert code == 1
    assert re.search("ephemeral containers|not allow this method|could not find", err), err
