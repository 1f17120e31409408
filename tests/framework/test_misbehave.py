"""`framework.misbehave`, seen from the wire: each way to go wrong goes wrong as its table says."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import aiohttp
import msgspec
import pytest

from framework.misbehave import create_misbehaving_app
from framework.server import serving

Raw = Callable[..., Awaitable[bytes]]


def call_with(**attributes: str) -> bytes:
    return msgspec.json.encode({"invocationID": "inv-1", "attributes": attributes, "payload": 7})


def request_with(**attributes: str) -> bytes:
    body = call_with(**attributes)
    return b"POST /invoke HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n"


def parts_of(answer: bytes) -> tuple[int, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def envelope_of(answer: bytes) -> dict[str, object]:
    status, body = parts_of(answer)
    assert status == 200
    envelope: dict[str, object] = msgspec.json.decode(body)
    return envelope


@pytest.fixture
async def served(socket_path: str) -> AsyncIterator[None]:
    app = create_misbehaving_app(invoke_path="/invoke", health_path="/healthz")
    async with serving(app, socket_path, grace_s=0):
        yield


@pytest.mark.parametrize("attributes", [{}, {"voice": "b2"}, {"delay": "1ms"}])
@pytest.mark.usefixtures("served")
async def test_it_echoes_unless_told_otherwise(raw: Raw, attributes: dict[str, str]) -> None:
    assert envelope_of(await raw(request_with(**attributes))) == {
        "statusCode": 200,
        "contentType": "application/json",
        "body": {
            "attributes": attributes or None,
            "contentType": "",
            "invocationID": "inv-1",
            "payload": 7,
            "serverlessRequestID": "",
            "workerName": "",
            "workerNamespace": "",
        },
    }


@pytest.mark.usefixtures("served")
async def test_a_wrong_script_is_a_400(raw: Raw) -> None:
    status, text = parts_of(await raw(request_with(disconnect="perhaps")))
    assert status == 400
    assert b"$.disconnect" in text


@pytest.mark.usefixtures("served")
async def test_envelopes_as_scripted(raw: Raw) -> None:
    assert envelope_of(await raw(request_with(status_code="1000")))["statusCode"] == 1000
    failed = envelope_of(await raw(request_with(error="no GPU")))
    assert (failed["statusCode"], failed["error"]) == (500, "no GPU")
    huge = envelope_of(await raw(request_with(huge_body="3000000")))
    assert len(msgspec.json.encode(huge["body"])) == 3_000_000


@pytest.mark.parametrize("garbage", ["json", "utf8"])
@pytest.mark.usefixtures("served")
async def test_garbage_in_whole_http(raw: Raw, garbage: str) -> None:
    status, body = parts_of(await raw(request_with(garbage=garbage)))
    assert status == 200
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        msgspec.json.decode(body)


@pytest.mark.usefixtures("served")
async def test_an_envelope_of_wrong_types(raw: Raw) -> None:
    assert envelope_of(await raw(request_with(garbage="envelope")))["statusCode"] == "two hundred"


@pytest.mark.parametrize("status", [204, 404, 503, 599])
@pytest.mark.usefixtures("served")
async def test_a_bad_http_status(raw: Raw, status: int) -> None:
    assert parts_of(await raw(request_with(bad_status=str(status))))[0] == status


@pytest.mark.usefixtures("served")
async def test_no_http_at_all(raw: Raw) -> None:
    assert await raw(request_with(garbage="http")) == b"\x16\x03\x01 this is not HTTP\r\n\r\n"


@pytest.mark.usefixtures("served")
async def test_the_connection_closes_before_in_the_headers_and_in_the_body(raw: Raw) -> None:
    assert await raw(request_with(disconnect="before")) == b""
    headers = await raw(request_with(disconnect="headers"))
    assert headers.startswith(b"HTTP/1.1 200 ")
    assert b"\r\n\r\n" not in headers
    head, _, body = (await raw(request_with(disconnect="body"))).partition(b"\r\n\r\n")
    announced = int(head.partition(b"Content-Length: ")[2].split()[0])
    assert 0 < len(body) < announced


@pytest.mark.usefixtures("served")
async def test_slow_headers_come_byte_by_byte_and_are_complete(socket_path: str) -> None:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_unix_connection(socket_path)
        writer.write(request_with(slow_headers="100ms"))
        pieces = [await reader.read(65536)]
        while pieces[-1]:
            pieces.append(await reader.read(65536))
        writer.close()
    assert len(pieces) > 10
    assert envelope_of(b"".join(pieces))["statusCode"] == 200


@pytest.mark.usefixtures("served")
async def test_unhealthy_for_a_while(raw: Raw) -> None:
    assert parts_of(await raw(HEALTH))[0] == 200
    assert envelope_of(await raw(request_with(unhealthy="1s")))["statusCode"] == 200
    assert parts_of(await raw(HEALTH)) == (503, b'{"ok":false}')
    async with asyncio.timeout(20):
        while parts_of(await raw(HEALTH))[0] != 200:
            pass


@pytest.fixture
def program(socket_path: str) -> Iterator["subprocess.Popen[str]"]:
    environ = os.environ | {"SERVERLESS_FRAMEWORK_SOCKET_PATH": socket_path}
    command = [sys.executable, "-m", "framework.misbehave"]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "framework listens" in process.stderr.readline()
    yield process
    process.kill()
    process.communicate(timeout=10)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("attributes", "code"), [({"crash": "true"}, -signal.SIGABRT), ({"exit_code": "7"}, 7), ({"exit_code": "0"}, 0)]
)
async def test_the_process_ends_as_scripted(
    program: "subprocess.Popen[str]", raw: Raw, attributes: dict[str, str], code: int
) -> None:
    assert await raw(request_with(**attributes)) == b""
    assert program.wait(20) == code


@pytest.mark.e2e
async def test_a_caller_that_goes_cancels_a_hanging_call_unless_that_is_ignored(
    program: "subprocess.Popen[str]", socket_path: str, client: aiohttp.ClientSession
) -> None:
    """The exit code shows which of two calls went on when its caller was gone: the one that ignores it."""
    async with asyncio.timeout(20):
        for attributes in ({"exit_code": "1"}, {"exit_code": "2", "ignore_cancel": "true"}):
            _, writer = await asyncio.open_unix_connection(socket_path)
            writer.write(request_with(delay="2s", **attributes))
            async with client.get("/healthz") as response:  # answered after the call has begun
                assert response.status == 200
            writer.close()
    assert program.wait(20) == 2


@pytest.mark.e2e
async def test_a_stop_ends_a_hanging_call(program: "subprocess.Popen[str]", socket_path: str, raw: Raw) -> None:
    _, writer = await asyncio.open_unix_connection(socket_path)
    writer.write(request_with(hang="true"))
    assert parts_of(await raw(HEALTH))[0] == 200
    program.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(program.wait, 20) == 0
    writer.close()
