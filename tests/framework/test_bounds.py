"""What one connection may cost: sizes and times of headers and bodies, seen from the wire."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from framework.contract import InvocationRequest

Serve = Callable[..., AbstractAsyncContextManager["asyncio.Task[None]"]]
Raw = Callable[..., Awaitable[bytes]]
LIMIT = 1000
HEAD = b"POST /invoke HTTP/1.1\r\nHost: w\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: w\r\n"


def call_of(size: int) -> bytes:
    empty = b'{"invocationID":"a","payload":""}'
    return empty[:-2] + b"x" * (size - len(empty)) + empty[-2:]


def chunked(body: bytes, piece: int = 100) -> bytes:
    pieces = [body[start : start + piece] for start in range(0, len(body), piece)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in pieces)


async def echo_size(request: InvocationRequest) -> object:
    return len(bytes(request.payload))


async def status_of(answer: Awaitable[bytes]) -> int:
    head, _, _ = (await answer).partition(b"\r\n\r\n")
    if b" 200 " not in head:
        assert b"Content-Type: text/plain" in head
    return int(head.split()[1])


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"Content-Length: %d\r\n\r\n%b" % (LIMIT, call_of(LIMIT)), 200),
        (b"Content-Length: %d\r\n\r\n%b" % (LIMIT + 1, call_of(LIMIT + 1)), 413),
        (b"Transfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunked(call_of(LIMIT)), 200),
        (b"Transfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunked(call_of(LIMIT + 1)), 413),
    ],
)
async def test_the_body_limit_is_exact(serve: Serve, raw: Raw, request_bytes: bytes, status: int) -> None:
    async with serve(echo_size, max_body_bytes=LIMIT):
        assert await status_of(raw(HEAD + b"Connection: close\r\n" + request_bytes)) == status


@pytest.mark.parametrize(
    "sent",
    [b"Content-Length: 999999999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b" " * (LIMIT + 1))],
)
async def test_a_body_above_the_limit_is_refused_before_its_end(serve: Serve, socket_path: str, sent: bytes) -> None:
    async with serve(echo_size, max_body_bytes=LIMIT), asyncio.timeout(20):
        reader, writer = await asyncio.open_unix_connection(socket_path)
        writer.write(HEAD + sent)
        assert (await reader.readline()).split()[1] == b"413"
        writer.close()


@pytest.mark.parametrize("head", [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_body_that_does_not_come_is_a_408(serve: Serve, raw: Raw, socket_path: str, head: bytes) -> None:
    async with serve(echo_size, body_timeout_s=0.05), asyncio.timeout(20):
        reader, writer = await asyncio.open_unix_connection(socket_path)
        writer.write(HEAD + head)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.split()[1] == b"408"
        assert b"Connection: close" in answer
        writer.close()


@pytest.mark.parametrize("sent", [b"P", HEAD, HEAD + b"Content-Le"])
@pytest.mark.parametrize("used_before", [True, False])
async def test_headers_that_do_not_come_are_a_408(
    serve: Serve, socket_path: str, sent: bytes, used_before: bool
) -> None:
    async with serve(echo_size, header_timeout_s=0.05), asyncio.timeout(20):
        reader, writer = await asyncio.open_unix_connection(socket_path)
        if used_before:
            writer.write(HEALTH + b"\r\n")
            await reader.readuntil(b'{"ok":true}')
        writer.write(sent)
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.endswith(b"\r\n\r\nthe headers are late\n")


async def test_a_connection_that_waits_between_requests_may_wait(serve: Serve, socket_path: str) -> None:
    async with serve(echo_size, header_timeout_s=0.05), asyncio.timeout(20):
        reader, writer = await asyncio.open_unix_connection(socket_path)
        for _ in range(2):
            await asyncio.sleep(0.1)  # twice the time that headers may take
            writer.write(HEALTH + b"\r\n")
            assert (await reader.readuntil(b'{"ok":true}')).split()[1] == b"200"
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * 20_000),
        HEALTH + b"X-Long: %b\r\n\r\n" % (b"x" * 20_000),
        HEALTH + b"X-Many: 1\r\n" * 1000 + b"\r\n",
        b"this is not HTTP\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nnot a chunk\r\n",
    ],
)
async def test_what_is_too_large_or_no_http_is_refused(serve: Serve, raw: Raw, sent: bytes) -> None:
    async with serve(echo_size):
        assert await status_of(raw(sent)) == 400
