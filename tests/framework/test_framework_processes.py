"""The echo worker and the example of docs/framework.md as real processes."""

import asyncio
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
        ({"SERVERLESS_FRAMEWORK_SOCKET_PATH": "/tmp"}, "not a socket"),
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


FAILS_TO_LOAD = """
from framework.server import run

class Model:
    def load(self):
        raise FileNotFoundError("no weights.bin")

    def __call__(self, request): ...

run(Model)
"""


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_load_that_raises_ends_the_program_with_one_line(start: Start, socket_path: str, debug: str) -> None:
    process = start("-c", FAILS_TO_LOAD, SERVERLESS_FRAMEWORK_DEBUG=debug)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    listens, *before, last = errors.splitlines()
    assert "framework listens" in listens
    assert last == "framework: load() failed: FileNotFoundError: no weights.bin"
    assert any("Traceback" in line for line in before) is bool(debug)
    assert bool(before) is bool(debug)
    assert not Path(socket_path).exists()


FAILS = """
from framework.server import run
def handle(request):
    raise ValueError("no GPU")
run(handle)
"""


@pytest.mark.parametrize("debug", ["", "1"])
async def test_a_failed_call_shows_its_traceback_in_debug_mode_only(
    start: Start, client: aiohttp.ClientSession, debug: str
) -> None:
    until_listening(start("-c", FAILS, SERVERLESS_FRAMEWORK_DEBUG=debug))
    async with client.post("/invoke", data=b'{"invocationID":"a"}') as response:
        envelope = await response.json()
    assert envelope["error"] == "no GPU"
    assert ("Traceback" in envelope["body"].get("traceback", "")) is bool(debug)


def documented(name: str) -> str:
    """The program of that name in docs/framework.md."""
    found = re.search(rf"```python\n(# {name}\n.*?)```", DOC.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_documented_worker_does_what_the_page_shows(
    start: Start, client: aiohttp.ClientSession, short_dir: Path
) -> None:
    shown = re.search(r"http://worker/invoke \\\n\s+-d '(.*?)'\n(.*?)\n", DOC.read_text())
    assert shown is not None
    program = short_dir / "worker.py"
    program.write_text(documented("worker.py"))
    until_listening(start(str(program)))
    async with client.post("/invoke", data=shown[1]) as response:
        assert (await response.read()).decode() == shown[2]


CALL_WITH_PROMPT = b'{"invocationID":"inv-1","payload":{"prompt":"a robot"}}'


@pytest.mark.parametrize("name", ["model.py", "decorated.py", "patient.py", "embedded.py"])
async def test_the_other_documented_programs_serve(
    start: Start, client: aiohttp.ClientSession, short_dir: Path, name: str
) -> None:
    program = short_dir / name
    program.write_text(documented(name))
    until_listening(start(str(program)))
    async with asyncio.timeout(20):
        while (await client.get("/healthz")).status != 200:
            pass
    async with client.post("/invoke", data=CALL_WITH_PROMPT) as response:
        envelope = await response.json()
    assert (envelope["statusCode"], envelope["body"]) == (200, {"drawn": "a robot"})


def test_every_documented_program_runs_here() -> None:
    names = re.findall(r"```python\n(?:# (\w+\.py)\n)?", DOC.read_text())
    assert sorted(names) == ["decorated.py", "embedded.py", "model.py", "patient.py", "worker.py"]
