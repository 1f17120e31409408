"""The framework client against friendly and hostile servers on a real unix socket."""

import asyncio
import errno
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar import framework_client
from sidecar.framework_client import (
    AnswerTooLargeError,
    BrokenCallError,
    CallTimeoutError,
    FrameworkClient,
    FrameworkError,
    FrameworkLostError,
    NeverSentError,
    UnsafeSocketError,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Serving = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[bytes, bytes]:
        """Read one request: head and body; an empty head when the client closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b"", b""
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
        return head, await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


@pytest.fixture
def path() -> Iterator[str]:
    directory = tempfile.mkdtemp(dir="/tmp", prefix="fc-")
    yield f"{directory}/f.sock"
    shutil.rmtree(directory)


@pytest.fixture
async def client(path: str) -> AsyncIterator[FrameworkClient]:
    async with FrameworkClient(path, max_response_bytes=1000) as client:
        yield client


@asynccontextmanager
async def serving(path: str, serve: Serving) -> AsyncIterator[list[Peer]]:
    """Serve each connection with `serve`, then close it; yields the peers seen so far."""
    peers: list[Peer] = []
    tasks: set[asyncio.Task[None]] = set()

    async def on_connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peers.append(Peer(reader, writer))
        try:
            await serve(peers[-1])
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(on_connect, path)
    try:
        async with asyncio.timeout(20):
            yield peers
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def always(response: bytes) -> Serving:
    async def serve(peer: Peer) -> None:
        while (await peer.request())[0]:
            await peer.send(response)

    return serve


def once(*pieces: bytes) -> Serving:
    async def serve(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            await peer.send(piece)

    return serve


async def test_an_invocation_is_one_http_request(path: str, client: FrameworkClient) -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def serve(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(OK)

    async with serving(path, serve):
        response = await client.invoke(b'{"a":1}', 5)
    assert (response.status, response.body) == (200, b"{}")
    ((head, body),) = seen
    assert head.split(b"\r\n")[:4] == [
        b"POST /invoke HTTP/1.1",
        b"Host: serverless-framework",
        b"Content-Type: application/json",
        b"Content-Length: 7",
    ]
    assert body == b'{"a":1}'


async def test_headers_are_added_to_the_request(path: str, client: FrameworkClient) -> None:
    """S30: the trace context goes on to the framework."""
    seen: list[bytes] = []

    async def serve(peer: Peer) -> None:
        head, body = await peer.request()
        while head:
            seen.append(head + body)
            await peer.send(OK)
            head, body = await peer.request()

    async with serving(path, serve):
        await client.invoke(b"[1]", None, {"traceparent": "00-a-b-01", "tracestate": "x=y"})
        await client.invoke(b"[2]")
    assert b"\r\ntraceparent: 00-a-b-01\r\ntracestate: x=y\r\n\r\n[1]" in seen[0]
    assert b"trace" not in seen[1]
    assert seen[1].endswith(b"Content-Length: 3\r\n\r\n[2]")


async def test_connections_are_kept_alive_and_calls_run_side_by_side(path: str, client: FrameworkClient) -> None:
    async with serving(path, always(OK)) as peers:
        for _ in range(3):
            await client.invoke(b"{}", 5)
        assert len(peers) == 1
        await asyncio.gather(*(client.invoke(b"{}", 5) for _ in range(3)))
        assert len(peers) == 3


@pytest.mark.parametrize("size", [100_000, 5_000_000])
async def test_a_request_larger_than_the_socket_buffer_goes_out_whole(
    path: str, client: FrameworkClient, size: int
) -> None:
    sizes: list[int] = []

    async def serve(peer: Peer) -> None:
        sizes.append(len((await peer.request())[1]))
        await peer.send(OK)

    async with serving(path, serve):
        assert (await client.invoke(b"x" * size, 10)).status == 200
    assert sizes == [size]


@pytest.mark.parametrize(
    ("pieces", "status", "body"),
    [
        ([b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\n", b"lo", b"ad"], 503, b"load"),
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", b"2\r\nbc\r\n0\r\n\r\n"],
            200,
            b"abc",
        ),
        ([b"HTTP/1.1 200 OK\r\n\r\n", b"until ", b"closed"], 200, b"until closed"),
        ([b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"], 200, b"x"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", OK], 200, b"{}"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b""),
        ([bytes([byte]) for byte in OK], 200, b"{}"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000], 200, b"x" * 1000),
    ],
)
async def test_complete_responses_are_read(
    path: str, client: FrameworkClient, pieces: list[bytes], status: int, body: bytes
) -> None:
    async with serving(path, once(*pieces)):
        response = await client.invoke(b"{}", 5)
    assert (response.status, response.body) == (status, body)


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"garbage\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Le"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"],
        [b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 100_000],
        [b"HTTP/1.1 100 Continue\r\n\r\n" * 5000],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-A: " + b"a" * 100_000],
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n"],
    ],
)
async def test_broken_responses_fail_the_call(path: str, client: FrameworkClient, pieces: list[bytes]) -> None:
    async with serving(path, once(*pieces)) as peers:
        with pytest.raises(BrokenCallError) as raised:
            await client.invoke(b"{}", 10)
        assert len(peers) == 1
    assert raised.value.failure_class == "framework_error"


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *([b"64\r\n" + b"x" * 100 + b"\r\n"] * 11)],
        [b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1001],
        [b"HTTP/1.1 503 No\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001],
    ],
)
async def test_an_answer_above_the_limit_is_told_apart(path: str, client: FrameworkClient, pieces: list[bytes]) -> None:
    """S18: its size is bounded, and it is no lost answer: the result is `result_too_large`."""
    async with serving(path, once(*pieces)) as peers:
        with pytest.raises(AnswerTooLargeError, match="larger than 1000 bytes") as raised:
            await client.invoke(b"{}", 10)
        assert len(peers) == 1
    assert raised.value.failure_class == "result_too_large"


@pytest.mark.parametrize(
    ("pieces", "is_lost"),
    [
        ([], True),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"], True),
        ([b"garbage\r\n\r\n"], False),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001], False),
    ],
)
async def test_s14_a_framework_that_is_lost_is_told_apart_from_a_bad_answer(
    path: str, client: FrameworkClient, pieces: list[bytes], is_lost: bool
) -> None:
    async with serving(path, once(*pieces)):
        with pytest.raises(BrokenCallError) as raised:
            await client.invoke(b"{}", 10)
    assert isinstance(raised.value, FrameworkLostError) is is_lost


async def test_after_a_broken_call_the_next_one_gets_a_new_connection(path: str, client: FrameworkClient) -> None:
    answers = iter([b"garbage\r\n\r\n", OK])

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(next(answers))

    async with serving(path, serve) as peers:
        with pytest.raises(BrokenCallError):
            await client.invoke(b"{}", 5)
        assert (await client.invoke(b"{}", 5)).status == 200
        assert len(peers) == 2


@pytest.mark.parametrize("extra", [b"", OK, b"garbage"])
async def test_bytes_that_answer_no_request_never_answer_the_next(
    path: str, client: FrameworkClient, extra: bytes
) -> None:
    async def serve(peer: Peer) -> None:
        head, _ = await peer.request()
        await peer.send(OK + extra)
        if extra:
            await peer.reader.read()
        else:
            while head:
                head, _ = await peer.request()
                await peer.send(OK)

    async with serving(path, serve) as peers:
        assert (await client.invoke(b"{}", 5)).status == 200
        assert (await client.invoke(b"{}", 5)).status == 200
        assert len(peers) == (2 if extra else 1)


async def test_nobody_at_the_socket_is_never_sent(path: str, client: FrameworkClient) -> None:
    with pytest.raises(NeverSentError, match="no framework listens"):
        await client.invoke(b"{}", 5)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with pytest.raises(NeverSentError, match="no framework listens"):
        await client.invoke(b"{}", 5)


@pytest.mark.parametrize("what", ["link", "dangling", "file", "directory", "fifo"])
async def test_what_is_no_socket_itself_is_refused(path: str, client: FrameworkClient, what: str) -> None:
    """User code owns the directory, and must not lead the sidecar to another socket."""
    other = Path(path).with_name("other.sock")
    make = {
        "link": lambda: Path(path).symlink_to(other),
        "dangling": lambda: Path(path).symlink_to("nowhere"),
        "file": lambda: Path(path).touch(),
        "directory": lambda: Path(path).mkdir(),
        "fifo": lambda: os.mkfifo(path),
    }
    async with serving(str(other), always(OK)) as peers:
        make[what]()
        with pytest.raises(UnsafeSocketError, match=r"f\.sock is (a symbolic link|something else)"):
            await client.invoke(b"{}", 5)
        assert not await client.health()
        assert "must create a socket there itself" in client.health_problem
        assert peers == []


async def test_a_socket_of_another_group_says_what_to_do(
    path: str, client: FrameworkClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S24: a sidecar of another user is refused; root, who may run this test, never is."""

    def refused(_path: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", refused)
        with pytest.raises(NeverSentError, match="fsGroup"):
            await client.invoke(b"{}", 5)


async def test_without_a_descriptor_nothing_is_sent(
    path: str, client: FrameworkClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_arguments: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    async with serving(path, always(OK)):
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", exhausted)
            with pytest.raises(NeverSentError, match="Too many open files"):
                await client.invoke(b"{}", 5)
        assert (await client.invoke(b"{}", 5)).status == 200


async def test_a_full_backlog_is_never_sent(path: str, client: FrameworkClient) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as waiting:
        server.bind(path)
        server.listen(0)
        waiting.connect(path)
        with pytest.raises(NeverSentError, match="no framework listens"):
            await client.invoke(b"{}", 5)


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_connection_closed_while_idle_does_not_cost_a_call(
    path: str, client: FrameworkClient, noticed: bool
) -> None:
    """Either the loop saw the end of the idle connection, or the first write meets it."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(5)
        loop = asyncio.get_running_loop()

        def accept_and_answer() -> socket.socket:
            peer, _ = server.accept()
            peer.settimeout(10)
            assert peer.recv(65536).startswith(b"POST /invoke")
            peer.sendall(OK)
            return peer

        for _ in range(3):
            answering = loop.run_in_executor(None, accept_and_answer)
            assert (await client.invoke(b"{}", 10)).status == 200
            (await answering).close()
            if noticed:
                await asyncio.sleep(0)
                await asyncio.sleep(0)


async def test_a_timeout_closes_the_request(path: str, client: FrameworkClient) -> None:
    closed = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        assert await peer.reader.read() == b""
        closed.set()

    async with serving(path, serve):
        with pytest.raises(CallTimeoutError, match=r"0\.05 s"):
            await client.invoke(b"{}", 0.05)
        await closed.wait()


async def test_a_slow_trickle_does_not_stretch_the_timeout(path: str, client: FrameworkClient) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"X-A: b\r\n")
            await asyncio.sleep(0.01)

    async with serving(path, serve):
        with pytest.raises(CallTimeoutError):
            await client.invoke(b"{}", 0.1)


async def test_cancelling_closes_the_request(path: str, client: FrameworkClient) -> None:
    received, closed = asyncio.Event(), asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.request()
        received.set()
        assert await peer.reader.read() == b""
        closed.set()

    async with serving(path, serve):
        call = asyncio.create_task(client.invoke(b"{}", None))
        await received.wait()
        call.cancel()
        await closed.wait()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_closing_the_client_closes_idle_and_busy_connections(path: str) -> None:
    received = asyncio.Event()
    ends: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(peer: Peer) -> None:
        head, _ = await peer.request()
        if head.startswith(b"GET"):
            await peer.send(OK)
        else:
            received.set()
        ends.put_nowait(await peer.reader.read())

    async with serving(path, serve) as peers:
        async with FrameworkClient(path) as client:
            call = asyncio.create_task(client.invoke(b"{}", None))
            await received.wait()
            assert await client.health()
        with pytest.raises(BrokenCallError):
            await call
        assert [await ends.get(), await ends.get()] == [b"", b""]
        assert len(peers) == 2


@pytest.mark.parametrize(
    ("response", "healthy"),
    [
        (OK, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", False),
        (b"junk\r\n\r\n", False),
    ],
)
async def test_health_is_exactly_200(path: str, client: FrameworkClient, response: bytes, healthy: bool) -> None:
    seen: list[bytes] = []

    async def serve(peer: Peer) -> None:
        seen.append((await peer.request())[0].split(b"\r\n")[0])
        await peer.send(response)

    async with serving(path, serve):
        assert await client.health() is healthy
    assert bool(client.health_problem) is not healthy
    assert seen == [b"GET /healthz HTTP/1.1"]


async def test_health_is_false_without_an_answer(path: str, client: FrameworkClient) -> None:
    assert await client.health() is False

    async def silent(peer: Peer) -> None:
        await peer.reader.read()

    async with serving(path, silent):
        assert await client.health(timeout_s=0.05) is False


async def test_connections_that_nobody_uses_are_closed_and_busy_ones_are_not(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framework_client, "IDLE_TIMEOUT_S", 0.02)
    ended: asyncio.Queue[bytes] = asyncio.Queue()
    received, gate = asyncio.Event(), asyncio.Event()

    async def serve(peer: Peer) -> None:
        _, body = await peer.request()
        if body == b"long":
            received.set()
            await gate.wait()
        await peer.send(OK)
        assert await peer.reader.read() == b""
        ended.put_nowait(body)

    async with serving(path, serve) as peers, FrameworkClient(path) as client:
        running = asyncio.create_task(client.invoke(b"long"))
        await received.wait()
        await asyncio.gather(client.invoke(b"short"), client.invoke(b"short"))
        assert [await ended.get(), await ended.get()] == [b"short", b"short"]
        gate.set()
        assert (await running).status == 200
        assert await ended.get() == b"long"
        assert len(peers) == 3


@pytest.mark.parametrize(
    ("error", "failure_class"),
    [
        (NeverSentError, "framework_error"),
        (UnsafeSocketError, "framework_error"),
        (BrokenCallError, "framework_error"),
        (FrameworkLostError, "framework_error"),
        (AnswerTooLargeError, "result_too_large"),
        (CallTimeoutError, "framework_timeout"),
    ],
)
def test_each_failure_knows_its_class(error: type[FrameworkError], failure_class: str) -> None:
    assert error("x").failure_class == failure_class


def test_the_socket_path_is_left_alone(path: str) -> None:
    FrameworkClient(path)
    assert not Path(path).exists()
