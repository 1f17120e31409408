"""The echo worker and the example of docs/framework.md as real processes."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest

pytestmark = pytest.mark.e2e

DOC = Path(__file__).parents[2] / "docs" / "framework.md"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(socket_path: str) -> Iterator[Start]:
    """Starts Python programs that serve `socket_path`; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, **settings: str) -> "subprocess.Popen[str]":
        environ = os.environ | {"SERVERLESS_FRAMEWORK_SOCKET_PATH": socket_path} | settings
        process = subprocess.Popen([sys.executable, *arguments], env=environ, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate(timeout=10)


def until_listening(process: "subprocess.Popen[str]") -> None:
    assert process.stderr is not None
    assert "framework listens" in process.stderr.readline()


async def test_echo_answers_with_what_it_was_told(start: Start, client: aiohttp.ClientSession) -> None:
    until_listening(start("-m", "framework.echo", SERVERLESS_FRAMEWORK_INVOKE_PATH="do"))
    call = (
        b'{"version":"v1","invocationID":"inv-5d0c","serverlessRequestID":"tts-small","workerName":"tts-small-base",'
        b'"workerNamespace":"runtime-instance","contentType":"application/json","attributes":{"voice":"b2"},'
        b'"payload":{"text":"good  morning", "n":1e400}}'
    )
    async with client.post("/do", data=call) as response:
        assert await response.read() == (
            b'{"statusCode":200,"contentType":"application/json","body":'
            b'{"attributes":{"voice":"b2"},"contentType":"application/json","invocationID":"inv-5d0c",'
            b'"payload":{"text":"good  morning", "n":1e400},"serverlessRequestID":"tts-small",'
            b'"workerName":"tts-small-base","workerNamespace":"runtime-instance"}}'
        )
    async with client.post("/do", data=b'{"invocationID":"a"}') as response:
        assert (await response.json())["body"] == {
            "attributes": None,
            "contentType": "",
            "invocationID": "a",
            "payload": None,
            "serverlessRequestID": "",
            "workerName": "",
            "workerNamespace": "",
        }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(start: Start, socket_path: str, number: signal.Signals) -> None:
    process = start("-m", "framework.echo")
    until_listening(process)
    process.send_signal(number)
    assert process.wait(timeout=20) == 0
    assert not Path(socket_path).exists()


STUCK = """
import threading
from framework.server import run
run(lambda request: threading.Event().wait())
"""


def test_the_second_signal_ends_it_at_once(start: Start, socket_path: str) -> None:
    process = start("-c", STUCK)
    until_listening(process)
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(socket_path)
        caller.sendall(b'POST /invoke HTTP/1.1\r\nHost: w\r\nContent-Length: 20\r\n\r\n{"invocationID":"a"}')
        _until_threads(process.pid, 2)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert "framework stops" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == -signal.SIGTERM


def _until_threads(pid: int, count: int) -> None:
    """Wait until the handler's thread runs."""
    end = time.monotonic() + 20
    while psutil.Process(pid).num_threads() < count:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"SERVERLESS_FRAMEWORK_SOCKET_PATH": "/tmp/" + "x" * 120}, "1 to 107 bytes"),
        ({"SERVERLESS_FRAMEWORK_SOCKET_PATH": "/tmp"}, "not a socket"),
        ({"SERVERLESS_FRAMEWORK_INVOKE_PATH": "/healthz"}, "must differ"),
        ({"SERVERLESS_FRAMEWORK_HEALTH_PATH": "/a b"}, "must not contain"),
    ],
)
def test_wrong_settings_end_it_with_one_line(start: Start, settings: dict[str, str], message: str) -> None:
    process = start("-m", "framework.echo", **settings)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    (line,) = errors.splitlines()
    assert line.startswith("framework: ")
    assert message in line


async def test_the_documented_worker_does_what_the_page_shows(
    start: Start, client: aiohttp.ClientSession, short_dir: Path
) -> None:
    page = DOC.read_text()
    example = re.search(r"```python\n(# worker\.py\n.*?)```", page, re.DOTALL)
    shown = re.search(r"http://worker/invoke \\\n\s+-d '(.*?)'\n(.*?)\n", page)
    assert example is not None
    assert shown is not None
    program = short_dir / "worker.py"
    program.write_text(example[1])
    until_listening(start(str(program)))
    async with client.post("/invoke", data=shown[1]) as response:
        assert (await response.read()).decode() == shown[2]
