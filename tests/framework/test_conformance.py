"""What every framework has to do, in whatever language (contract section 8): our echo, and one without our code."""

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

pytestmark = pytest.mark.e2e

MINIMAL = Path(__file__).parents[2] / "fixtures" / "frameworks" / "minimal.mjs"
NODE = shutil.which("node")
COMMANDS = [
    pytest.param([sys.executable, "-m", "framework.echo"], id="python"),
    pytest.param([NODE, str(MINIMAL)], id="node", marks=pytest.mark.skipif(not NODE, reason="node is not installed")),
]
LIMIT = 8 * 1024 * 1024
Raw = Callable[..., Awaitable[bytes]]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(params=COMMANDS)
def start(request: pytest.FixtureRequest, socket_path: str) -> Iterator[Start]:
    """Starts the framework under test at `socket_path`; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def run(umask: int = -1, **settings: str) -> "subprocess.Popen[str]":
        environ = os.environ | {"SERVERLESS_FRAMEWORK_SOCKET_PATH": socket_path} | settings
        process = subprocess.Popen(request.param, env=environ, stderr=subprocess.PIPE, text=True, umask=umask)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate(timeout=10)


def until_listening(process: "subprocess.Popen[str]") -> "subprocess.Popen[str]":
    assert process.stderr is not None
    assert "listens" in process.stderr.readline()
    return process


@pytest.fixture
def framework(start: Start) -> "subprocess.Popen[str]":
    return until_listening(start())


ROUTES = [
    ("GET", "/healthz", 200),
    ("HEAD", "/healthz", 405),
    ("POST", "/healthz", 405),
    ("DELETE", "/healthz", 405),
    ("GET", "/invoke", 405),
    ("PUT", "/invoke", 405),
    ("GET", "/", 404),
    ("GET", "/healthz/", 404),
    ("POST", "/invoke/more", 404),
    ("POST", "/Invoke", 404),
]


async def test_two_paths_answer_one_method_each(
    framework: "subprocess.Popen[str]", client: aiohttp.ClientSession
) -> None:
    answers = []
    for method, path, _ in ROUTES:
        async with client.request(method, path) as response:
            answers.append((method, path, response.status))
            assert "Allow" not in response.headers
            if response.status == 200:
                assert response.content_type == "application/json"
                assert await response.read() == b'{"ok":true}'
            else:
                assert response.content_type == "text/plain"
    assert answers == ROUTES


WHOLE = (
    b'{"version":"v1","invocationID":"inv-5d0c","serverlessRequestID":"tts-small","workerName":"tts-small-base",'
    b'"workerNamespace":"runtime-instance","mode":"sync","contentType":"application/json","attributes":{"voice":"b2"},'
    b'"payload":{"text":"good  morning", "n":1e400, "n":"<&>\\u0041\xc3\xa9"},"timeoutSeconds":20,'
    b'"dispatchedAt":"2026-03-04T05:06:07.31Z"}'
)
WHOLE_ECHO = (
    b'{"statusCode":200,"contentType":"application/json","body":'
    b'{"attributes":{"voice":"b2"},"contentType":"application/json","invocationID":"inv-5d0c",'
    b'"payload":{"text":"good  morning", "n":1e400, "n":"<&>\\u0041\xc3\xa9"},"serverlessRequestID":"tts-small",'
    b'"workerName":"tts-small-base","workerNamespace":"runtime-instance"}}'
)
BARE_ECHO = (
    b'{"statusCode":200,"contentType":"application/json","body":{"attributes":null,"contentType":"",'
    b'"invocationID":"a","payload":null,"serverlessRequestID":"","workerName":"","workerNamespace":""}}'
)
ACCEPTED = [
    (WHOLE, WHOLE_ECHO),
    (b'{"invocationID":"a"}', BARE_ECHO),
    (b'{"invocationID":"a","later":{"field":[1,{"payload":2}]},"payload":null}', BARE_ECHO),
    (b'{"invocationID":"a","dispatchedAt":"0001-01-01T00:00:00Z","timeoutSeconds":0}', BARE_ECHO),
    (b'{"invocationID":"a"} trailing', BARE_ECHO),
    (b' \n{"invocationID":"a"}{"invocationID":"b"}', BARE_ECHO),
]


async def test_calls_are_echoed_on_one_connection(
    framework: "subprocess.Popen[str]", client: aiohttp.ClientSession
) -> None:
    for body, echo in ACCEPTED:
        async with client.post("/invoke", data=body) as response:
            assert response.status == 200
            assert response.content_type == "application/json"
            assert await response.read() == echo


REFUSED = [
    b"",
    b"not json",
    b"[]",
    b"7",
    b"null",
    b"\xff\xfe",
    b'{"invocationID":"a\xff"}',
    b"{}",
    b'{"invocationID":""}',
    b'{"invocationID":"  "}',
    b'{"invocationID":7}',
    b'{"invocationID":"a"',
    b'{"invocationID":"a","payload":{"x":}}',
    b'{"invocationID":"a","workerName":1}',
    b'{"invocationID":"a","timeoutSeconds":"soon"}',
    b'{"invocationID":"a","timeoutSeconds":1.5}',
    b'{"invocationID":"a","headers":[]}',
    b'{"invocationID":"a","attributes":{"n":1}}',
    b'{"invocationID":"a","dispatchedAt":"yesterday"}',
]


async def test_what_is_no_invocation_is_a_400(
    framework: "subprocess.Popen[str]", client: aiohttp.ClientSession
) -> None:
    answers = []
    for body in REFUSED:
        async with client.post("/invoke", data=body) as response:
            answers.append((body, response.status, response.content_type))
    assert answers == [(body, 400, "text/plain") for body in REFUSED]


def _call_of(size: int) -> bytes:
    empty = b'{"invocationID":"a","payload":""}'
    return empty[:-2] + b"x" * (size - len(empty)) + empty[-2:]


async def test_a_body_above_the_limit_is_a_413(
    framework: "subprocess.Popen[str]", client: aiohttp.ClientSession, socket_path: str
) -> None:
    async with client.post("/invoke", data=BytesIO(_call_of(LIMIT))) as response:
        assert response.status == 200
    async with client.post("/invoke", data=BytesIO(_call_of(LIMIT + 1))) as response:
        assert (response.status, response.content_type) == (413, "text/plain")
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_unix_connection(socket_path)
        writer.write(b"POST /invoke HTTP/1.1\r\nHost: w\r\nContent-Length: %d\r\n\r\n" % (LIMIT + 1))
        assert (await reader.readline()).split()[1] == b"413"  # although not one byte of it came
        writer.close()


async def test_headers_that_do_not_come_end_the_connection(framework: "subprocess.Popen[str]", raw: Raw) -> None:
    answer = await raw(b"POST /invoke HTTP/1.1\r\nHost: w\r\n")  # which returns when the connection is closed
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")


async def test_both_paths_are_settings(start: Start, client: aiohttp.ClientSession) -> None:
    until_listening(start(SERVERLESS_FRAMEWORK_INVOKE_PATH="do//it/", SERVERLESS_FRAMEWORK_HEALTH_PATH="/"))
    async with client.post("/do/it", data=b'{"invocationID":"a"}') as response:
        assert response.status == 200
    async with client.get("/healthz") as response:
        assert response.status == 200
    async with client.post("/invoke", data=b'{"invocationID":"a"}') as response:
        assert response.status == 404


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_socket_has_mode_0660_and_goes_at_the_end(start: Start, short_dir: Path, umask: int) -> None:
    path = short_dir / "made" / "f.sock"
    process = until_listening(start(umask, SERVERLESS_FRAMEWORK_SOCKET_PATH=str(path)))
    assert stat.S_IMODE(path.lstat().st_mode) == 0o660
    assert stat.S_IMODE(path.parent.lstat().st_mode) == 0o755
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert not path.exists()


def test_a_left_over_socket_is_replaced_and_a_served_one_is_not(start: Start, socket_path: str) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(socket_path)
    first = until_listening(start())
    second = start()
    _, errors = second.communicate(timeout=20)
    assert second.returncode == 1
    assert "another program serves" in errors
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(socket_path)
    assert first.poll() is None


def test_what_is_no_socket_is_left_alone(start: Start, socket_path: str) -> None:
    Path(socket_path).write_text("precious")
    process = start()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "not a socket" in errors
    assert Path(socket_path).read_text() == "precious"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"SERVERLESS_FRAMEWORK_SOCKET_PATH": "/tmp/" + "x" * 120}, "107 bytes"),
        ({"SERVERLESS_FRAMEWORK_INVOKE_PATH": "/healthz"}, "must differ"),
    ],
)
def test_wrong_settings_end_it_with_one_line(start: Start, settings: dict[str, str], message: str) -> None:
    process = start(**settings)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    (line,) = errors.splitlines()
    assert line.startswith("framework: ")
    assert message in line
