"""Port-forward sessions between clients of the API and a node that is played by the test."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import aiohttp
import pytest

from simulator.kube.access.users import User
from simulator.kube.kinds import POD
from simulator.kube.pod_streams import NodeAgent, PodPorts, PortForwardError, PortStream
from simulator.kube.port_forwarding import CHANNEL_PROTOCOL, MAX_PORTS, SPDY_PROTOCOL, TUNNEL_PROTOCOL
from simulator.kube.server import KubeServer
from simulator.kube.spdy.frames import ResetStatus, data_frame, reset_frame
from simulator.kube.store import ResourceStore
from tests.kube.samples import NS, pod_spec, sample
from tests.kube.sessions import session_with
from tests.kube.spdy_client import Answers, Frame, SpdyClient

WAIT_S = 20
REFUSING = 81
PATH = f"api/v1/namespaces/{NS}/pods/p/portforward"


@dataclass
class Node(PodPorts):
    """A node with one pod, whose ports send back what they get, or refuse. `idle`: no connection is open.

    After `bye` a port reads no more; one that gets `on and on` sends until nobody wants it.
    """

    running: bool = True
    asked: list[int] = field(default_factory=list)
    connections: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def ports(self, namespace: str, pod: str) -> PodPorts | None:
        assert (namespace, pod) == (NS, "p")
        return self if self.running else None

    async def forward(self, port: int, client: PortStream) -> None:
        self.asked.append(port)
        if port == REFUSING:
            raise PortForwardError("nobody listens")
        self.connections += 1
        self.idle.clear()
        try:
            while (data := await client.read()) not in (b"", b"bye"):
                await client.write(data.upper())
                while data == b"on and on":
                    await client.write(data)
            await client.end()
        finally:
            self.connections -= 1
            if not self.connections:
                self.idle.set()


@pytest.fixture
def node(server: KubeServer, store: ResourceStore) -> Node:
    store.create(POD, {**sample(POD, "p"), "spec": pod_spec(nodeName="n1")}, NS)
    played = Node()
    server.reach_pods("n1", cast("NodeAgent", played))
    return played


class Tunnel:
    """SPDY in the messages of a WebSocket, as kubectl speaks it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.client = SpdyClient()
        self._socket = socket
        self._answers = Answers()
        self._frames: list[Frame] = []

    async def send(self, *frames: bytes) -> None:
        await self._socket.send_bytes(b"".join(frames))

    async def pair(self, errors: int, port: int, request: int) -> None:
        """Open the two streams of a connection."""
        for number, kind in ((errors, "error"), (errors + 2, "data")):
            await self.send(self.client.open(number, streamtype=kind, port=port, requestid=request))
        assert await self.next(2) == [("reply", errors, b""), ("reply", errors + 2, b"")]

    async def next(self, count: int) -> list[Frame]:
        async with asyncio.timeout(WAIT_S):
            while len(self._frames) < count:
                self._frames += self._answers.feed(await self._socket.receive_bytes())
        taken, self._frames = self._frames[:count], self._frames[count:]
        return taken


@asynccontextmanager
async def tunnel(server: KubeServer) -> AsyncIterator[Tunnel]:
    protocols = (TUNNEL_PROTOCOL, CHANNEL_PROTOCOL)
    async with session_with(server) as session, session.ws_connect(PATH, protocols=protocols) as socket:
        assert socket.protocol == TUNNEL_PROTOCOL
        yield Tunnel(socket)


async def test_connections_through_a_tunnel(server: KubeServer, node: Node) -> None:
    async with tunnel(server) as client:
        await client.pair(1, 80, 0)
        await client.pair(5, 8080, 1)
        await client.send(data_frame(7, b"second"), data_frame(3, b"first"))
        assert sorted(await client.next(2)) == [("data", 3, b"FIRST"), ("data", 7, b"SECOND")]
        await client.send(data_frame(3, b"", fin=True))
        assert await client.next(2) == [("end", 3, b""), ("end", 1, b"")]
        await client.send(data_frame(7, b"still"))
        assert await client.next(1) == [("data", 7, b"STILL")]
    assert node.asked == [80, 8080]
    async with asyncio.timeout(WAIT_S):
        await node.idle.wait()  # the second one ends with its client


async def test_why_a_connection_is_refused_is_told_on_its_stream_of_errors(server: KubeServer, node: Node) -> None:
    async with tunnel(server) as client:
        await client.pair(1, REFUSING, 0)
        assert await client.next(3) == [("data", 1, b"nobody listens"), ("end", 1, b""), ("reset", 3, b"")]
        await client.pair(5, 80, 1)
        await client.send(data_frame(7, b"a"), reset_frame(7, ResetStatus.CANCEL))
        async with asyncio.timeout(WAIT_S):
            await node.idle.wait()


async def test_what_comes_for_an_ended_connection_makes_no_other_wait(server: KubeServer, node: Node) -> None:
    """A client that uploads does not know yet that the pod has closed its side."""
    async with tunnel(server) as client:
        await client.pair(1, 80, 0)
        await client.pair(5, 80, 1)
        await client.send(data_frame(3, b"bye"))
        assert await client.next(2) == [("end", 3, b""), ("end", 1, b"")]
        await client.send(*[data_frame(3, bytes(1 << 15))] * 4, data_frame(7, b"other"))
        assert await client.next(1) == [("data", 7, b"OTHER")]


async def test_a_client_that_resets_a_connection_hears_that_it_has_ended(server: KubeServer, node: Node) -> None:
    """kubectl waits for the end of the stream of errors after it has reset the one of data."""
    async with tunnel(server) as client:
        await client.pair(1, 80, 0)
        await client.send(data_frame(3, b"on and on"))
        await client.next(2)
        await client.send(reset_frame(3, ResetStatus.CANCEL))
        while await client.next(1) != [("end", 1, b"")]:
            pass


async def test_a_refusal_that_the_client_does_not_want_to_hear_ends_the_connection(
    server: KubeServer, node: Node
) -> None:
    async with tunnel(server) as client:
        error, data = (client.client.open(n, streamtype=kind, port=REFUSING) for n, kind in ((1, "error"), (3, "data")))
        await client.send(error, reset_frame(1, ResetStatus.CANCEL), data)
        assert await client.next(3) == [("reply", 1, b""), ("reply", 3, b""), ("reset", 3, b"")]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"streamtype": "data"},
        {"streamtype": "data", "port": "0"},
        {"streamtype": "data", "port": "65536"},
        {"streamtype": "data", "port": "\u0661"},
        {"streamtype": "else", "port": "80"},
    ],
)
async def test_a_stream_that_is_not_explained_is_reset(server: KubeServer, node: Node, headers: dict[str, str]) -> None:
    async with tunnel(server) as client:
        await client.send(client.client.open(1, **headers))
        assert await client.next(2) == [("reply", 1, b""), ("reset", 1, b"")]
    assert node.asked == []


async def test_streams_without_an_id_belong_together_by_their_numbers(server: KubeServer, node: Node) -> None:
    async with tunnel(server) as client:
        for number, kind in ((1, "error"), (3, "data")):
            await client.send(client.client.open(number, streamtype=kind, port=80))
        await client.next(2)
        await client.send(data_frame(3, b"x"))
        assert await client.next(1) == [("data", 3, b"X")]


async def test_an_upgraded_connection_carries_the_same(server: KubeServer, node: Node) -> None:
    """kubectl before 1.31, which sends a POST."""
    authority = server.credentials.server.authority.decode()
    secured = ssl.create_default_context(cadata=authority)
    async with session_with(server) as session:
        token = session.headers["Authorization"]
    host, port = server.url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=secured)
    client, answers = SpdyClient(), Answers()
    frames: list[Frame] = []
    async with asyncio.timeout(WAIT_S):
        writer.write(
            f"POST /{PATH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\nContent-Length: 0\r\n"
            f"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {SPDY_PROTOCOL}\r\n\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 101 ")
        assert f"X-Stream-Protocol-Version: {SPDY_PROTOCOL}\r\n" in head
        writer.write(client.open(1, streamtype="error", port=80) + client.open(3, streamtype="data", port=80))
        writer.write(data_frame(3, b"x"))
        while len(frames) < 3:
            frames += answers.feed(await reader.read(1 << 16))
        assert frames[2] == ("data", 3, b"X")
        writer.close()
        await writer.wait_closed()
        await node.idle.wait()


async def test_channels(server: KubeServer, node: Node) -> None:
    path = f"{PATH}?ports=80,{REFUSING}&ports=8080"
    async with session_with(server) as session, session.ws_connect(path, protocols=[CHANNEL_PROTOCOL]) as socket:
        async with asyncio.timeout(WAIT_S):
            told = [await socket.receive_bytes() for _ in range(7)]
            ports = [b"\0P\0", b"\1P\0", b"\2Q\0", b"\3Q\0", b"\4\x90\x1f", b"\5\x90\x1f"]
            assert told == [*ports, b"\3nobody listens"]
            for message in (b"\0first", b"\4second", b"\1no data", b"\7no channel", b""):
                await socket.send_bytes(message)
            assert sorted([await socket.receive_bytes(), await socket.receive_bytes()]) == [b"\0FIRST", b"\4SECOND"]
            await socket.send_bytes(b"\0bye")
            await socket.send_bytes(b"\4bye")
            closing = await socket.receive()
            assert (closing.type, closing.data) == (aiohttp.WSMsgType.CLOSE, 1000)
    assert node.asked == [80, REFUSING, 8080]


async def test_what_comes_on_the_channel_of_an_ended_connection_makes_no_other_wait(
    server: KubeServer, node: Node
) -> None:
    path = f"{PATH}?ports={REFUSING},80"
    async with session_with(server) as session, session.ws_connect(path, protocols=[CHANNEL_PROTOCOL]) as socket:
        async with asyncio.timeout(WAIT_S):
            assert [await socket.receive_bytes() for _ in range(5)][-1] == b"\1nobody listens"
            for message in (b"\0" + bytes(1 << 17), b"\2other"):
                await socket.send_bytes(message)
            assert await socket.receive_bytes() == b"\2OTHER"


@pytest.mark.parametrize("protocols", [[CHANNEL_PROTOCOL], []])
async def test_channels_end_with_their_client(server: KubeServer, node: Node, protocols: list[str]) -> None:
    path = f"{PATH}?ports=80"
    async with session_with(server) as session, session.ws_connect(path, protocols=protocols) as socket:
        await socket.send_bytes(b"\0a")
        assert [await socket.receive_bytes() for _ in range(3)][2] == b"\0A"
    async with asyncio.timeout(WAIT_S):
        await node.idle.wait()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", 'query parameter "ports" is required'),
        ("?ports=http", 'cannot convert to []int32: "http" is no port'),
        ("?ports=0", 'cannot convert to []int32: "0" is no port'),
        ("?ports=" + ",".join(map(str, range(1, MAX_PORTS + 2))), "for at most 128 ports"),
    ],
)
async def test_which_ports_are_no_ports(server: KubeServer, node: Node, query: str, message: str) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Protocol": CHANNEL_PROTOCOL}
    async with session_with(server) as session, session.get(PATH + query, headers=headers) as answer:
        assert answer.status == 400
        assert message in (await answer.json())["message"]


@pytest.mark.parametrize("upgrade", ["websocket", "SPDY/3.1"])
async def test_a_pod_that_does_not_run_has_no_ports(server: KubeServer, node: Node, upgrade: str) -> None:
    node.running = False
    headers = {"Connection": "Upgrade", "Upgrade": upgrade, "Sec-WebSocket-Protocol": TUNNEL_PROTOCOL}
    async with session_with(server) as session, session.get(PATH, headers=headers) as answer:
        assert (answer.status, await answer.text()) == (500, f'pod not found ("p_{NS}")')


@pytest.mark.parametrize("subresource", ["portforward", "attach"])
async def test_one_must_be_allowed_to_create_them(server: KubeServer, node: Node, subresource: str) -> None:
    path = PATH.replace("portforward", subresource)
    async with session_with(server, User("jane")) as session, session.post(path) as answer:
        assert answer.status == 403
        told = f'User "jane" cannot create resource "pods/{subresource}"'
        assert told in (await answer.json())["message"]
