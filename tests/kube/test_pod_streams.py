"""Requests for logs and commands, between the API and a node that is played by the test."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec
import pytest
from multidict import MultiDict

from simulator.kube.access.users import User
from simulator.kube.exec_channels import SUCCESS, exit_status
from simulator.kube.kinds import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, POD, Object
from simulator.kube.pod_options import exec_options, log_options
from simulator.kube.pod_streams import (
    ExecClient,
    ExecOptions,
    LogOptions,
    PodPorts,
    StreamOptions,
    TerminalSize,
    chosen_container,
)
from simulator.kube.server import KubeServer
from simulator.kube.status import ApiFailure, bad_request
from simulator.kube.store import ResourceStore
from tests.kube.samples import NS, pod_spec, sample
from tests.kube.sessions import session_with

NOW_NS = 1_800_000_000 * 10**9
PATH = f"api/v1/namespaces/{NS}/pods/p"
SPDY = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
WEBSOCKET = ("v5.channel.k8s.io", "v4.channel.k8s.io")


class Node:
    """An agent that writes down what it is asked, and answers with what it is given."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.chunks: list[bytes] = []
        self.failure: ApiFailure | None = None
        self.items = 0

    @contextlib.asynccontextmanager
    async def log(
        self, namespace: str, pod: str, container: str, options: LogOptions
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append((namespace, pod, container, options))
        if self.failure:
            raise self.failure

        async def chunks() -> AsyncIterator[bytes]:
            for chunk in self.chunks:
                yield chunk

        yield chunks()

    async def execute(
        self, namespace: str, pod: str, container: str, options: ExecOptions, client: ExecClient
    ) -> int | None:
        self.asked.append((namespace, pod, container, options))
        if self.failure:
            raise self.failure
        for chunk in self.chunks:
            await client.send("stderr", chunk)
        async with contextlib.aclosing(client.received()) as received:
            async for item in received:
                self.asked.append(item)
                self.items -= 1
                if self.items <= 0:
                    return 3
        return None

    async def attach(
        self, namespace: str, pod: str, container: str, options: StreamOptions, client: ExecClient
    ) -> bool:
        self.asked.append((namespace, pod, container, options))
        for chunk in self.chunks:
            await client.send("stdout", chunk)
        return True

    def ports(self, namespace: str, pod: str) -> PodPorts | None:
        return None


def stored_pod(store: ResourceStore, **spec: Any) -> Object:
    return store.create(POD, {**sample(POD, "p"), "spec": pod_spec(**spec)}, NS)


@pytest.fixture
def node(server: KubeServer) -> Node:
    played = Node()
    server.reach_pods("n1", played)
    return played


def options_of(query: Mapping[str, str]) -> LogOptions:
    return log_options(query, "p", NOW_NS)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, LogOptions()),
        ({"follow": "true", "previous": "1", "timestamps": ""}, LogOptions(True, True, True)),
        ({"follow": "false", "previous": "0", "timestamps": "False"}, LogOptions()),
        ({"tailLines": "0", "limitBytes": "1"}, LogOptions(tail_lines=0, limit_bytes=1)),
        ({"sinceSeconds": "60"}, LogOptions(since_ns=NOW_NS - 60 * 10**9)),
        ({"sinceTime": "2027-01-15T08:00:00Z"}, LogOptions(since_ns=NOW_NS)),
        ({"sinceTime": "2027-01-15T09:00:00+01:00"}, LogOptions(since_ns=NOW_NS)),
    ],
)
def test_what_of_a_log_is_asked_for(query: dict[str, str], expected: LogOptions) -> None:
    assert options_of(query) == expected


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ({"tailLines": "x"}, 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ({"sinceTime": "x"}, 400, 'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"'),
        (
            {"tailLines": "-1"},
            422,
            'PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0',
        ),
        (
            {"sinceSeconds": "0"},
            422,
            'PodLogOptions "p" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0',
        ),
        (
            {"limitBytes": "0"},
            422,
            'PodLogOptions "p" is invalid: limitBytes: Invalid value: 0: must be greater than 0',
        ),
        (
            {"sinceSeconds": "1", "sinceTime": "2027-01-15T08:00:00Z"},
            422,
            'PodLogOptions "p" is invalid: : Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified',
        ),
    ],
)
def test_log_options_that_make_no_sense(query: dict[str, str], code: int, message: str) -> None:
    with pytest.raises(ApiFailure) as failure:
        options_of(query)
    assert (failure.value.code, str(failure.value)) == (code, message)


def test_a_command_needs_a_program_and_somebody_who_sees_it() -> None:
    query = MultiDict([("command", "ls"), ("command", "-l"), ("stdout", "true")])
    assert exec_options(query) == ExecOptions(("ls", "-l"), stdout=True)
    for wrong in (MultiDict([("stdout", "1")]), MultiDict([("command", "ls")])):
        with pytest.raises(ApiFailure, match="you must specify at least"):
            exec_options(wrong)


@pytest.mark.parametrize(
    ("main", "init", "asked", "problem"),
    [
        (["a", "b"], [], "c", "container c is not valid for pod p"),
        (["a", "b"], [], "", "a container name must be specified for pod p, choose one of: [a b]"),
        (
            ["a", "b"],
            ["i"],
            "",
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
        ),
    ],
)
def test_which_container_is_not_meant(main: list[str], init: list[str], asked: str, problem: str) -> None:
    with pytest.raises(ApiFailure) as failure:
        chosen_container(pod_of(main, init), asked)
    assert (failure.value.code, str(failure.value)) == (400, problem)


def test_which_container_is_meant() -> None:
    assert chosen_container(pod_of(["a"], ["i"]), "") == "a"
    assert chosen_container(pod_of(["a", "b"], ["i"]), "i") == "i"


def pod_of(main: list[str], init: list[str]) -> Object:
    containers, first = ([{"name": name} for name in names] for names in (main, init))
    return {"metadata": {"name": "p"}, "spec": {"containers": containers, "initContainers": first}}


async def test_a_log_comes_as_plain_text(server: KubeServer, store: ResourceStore, node: Node) -> None:
    container = stored_pod(store, nodeName="n1")["spec"]["containers"][0]["name"]
    node.chunks = [b"one\n", b"two\n"]
    async with session_with(server) as session, session.get(f"{PATH}/log?tailLines=2") as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")
        assert await answer.read() == b"one\ntwo\n"
    assert node.asked == [(NS, "p", container, LogOptions(tail_lines=2))]


async def test_what_the_node_refuses_is_the_answer(server: KubeServer, store: ResourceStore, node: Node) -> None:
    stored_pod(store, nodeName="n1")
    node.failure = bad_request("no log yet")
    async with session_with(server) as session, session.get(f"{PATH}/log") as answer:
        assert (answer.status, (await answer.json())["message"]) == (400, "no log yet")


async def test_pods_without_a_node_that_answers(server: KubeServer, store: ResourceStore) -> None:
    websocket = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Protocol": WEBSOCKET[0]}
    command = f"{PATH}/exec?command=ls&stdout=1"
    async with session_with(server) as session:
        async with session.get(f"{PATH}/log") as answer:
            assert (answer.status, (await answer.json())["message"]) == (404, 'pods "p" not found')
        stored_pod(store)
        async with session.get(f"{PATH}/log") as answer:
            assert (answer.status, await answer.read()) == (204, b"")
        async with session.get(command, headers=websocket) as answer:
            assert (answer.status, (await answer.json())["message"]) == (400, "pod p does not have a host assigned")
        store.delete(POD, "p", NS)
        stored_pod(store, nodeName="away")
        for path in (f"{PATH}/log", command):
            async with session.get(path, headers=websocket) as answer:
                told = 'error dialing backend: no kubelet of node "away" is connected to this API'
                assert (answer.status, (await answer.json())["message"]) == (500, told)


@pytest.mark.parametrize(
    ("method", "subresource", "headers", "code", "text"),
    [
        ("POST", "exec", SPDY, 403, "unable to negotiate protocol: client supports [], server accepts ['v4.channel"),
        ("GET", "exec", {}, 400, "Upgrade request required"),
        ("GET", "exec", {"Connection": "Upgrade", "Upgrade": "websocket"}, 400, "unable to negotiate protocol"),
        ("GET", "portforward", {}, 400, "Upgrade request required"),
        ("GET", "portforward", {"Connection": "Upgrade", "Upgrade": "websocket"}, 400, '"ports" is required'),
        ("POST", "attach", {}, 400, "Upgrade request required"),
        ("DELETE", "exec", {}, 405, "does not allow this method"),
        ("POST", "log", {}, 405, "does not allow this method"),
    ],
)
async def test_what_is_refused(
    server: KubeServer, store: ResourceStore, node: Node,
    method: str, subresource: str, headers: dict[str, str], code: int, text: str,
) -> None:  # fmt: skip
    stored_pod(store, nodeName="n1")
    path = f"{PATH}/{subresource}?command=ls&stdout=1"
    async with session_with(server) as session, session.request(method, path, headers=headers) as answer:
        assert answer.status == code
        assert text in (await answer.json())["message"]
    assert node.asked == []


@pytest.mark.parametrize("protocol", WEBSOCKET)
async def test_the_channels_of_a_command(server: KubeServer, store: ResourceStore, node: Node, protocol: str) -> None:
    stored_pod(store, nodeName="n1")
    node.chunks = [b"said"]
    sent = [b"\x00in", b"\x07unknown", b"\x04{", b'\x04{"Width":80,"Height":99999}', b'\x04{"Width":80,"Height":24}']
    received: list[object] = [b"in", TerminalSize(80, 24)]
    if protocol == WEBSOCKET[0]:
        sent, received = [*sent, b"\xff\x00"], [*received, b""]
    node.items = len(received)
    path = f"{PATH}/exec?command=cat&stdin=1&stderr=1"
    async with session_with(server) as session, session.ws_connect(path, protocols=[protocol]) as socket:
        assert socket.protocol == protocol
        assert await socket.receive_bytes() == b"\x02said"
        for message in sent:
            await socket.send_bytes(message)
        last = await socket.receive_bytes()
        assert (last[:1], msgspec.json.decode(last[1:])) == (b"\x03", exit_status(3))
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    assert node.asked[1:] == received


async def test_a_client_is_attached(server: KubeServer, store: ResourceStore, node: Node) -> None:
    container = stored_pod(store, nodeName="n1")["spec"]["containers"][0]["name"]
    node.chunks = [b"said"]
    path = f"{PATH}/attach?stdout=1&stdin=1"
    async with session_with(server) as session, session.ws_connect(path, protocols=WEBSOCKET) as socket:
        assert await socket.receive_bytes() == b"\x01said"
        last = await socket.receive_bytes()
        assert (last[:1], msgspec.json.decode(last[1:])) == (b"\x03", SUCCESS)
    assert node.asked == [(NS, "p", container, StreamOptions(stdin=True, stdout=True))]


async def test_a_command_that_fails_to_start_is_told_on_the_channel_of_errors(
    server: KubeServer, store: ResourceStore, node: Node
) -> None:
    stored_pod(store, nodeName="n1")
    node.failure = ApiFailure(500, "no such program", "InternalError")
    path = f"{PATH}/exec?command=x&stdout=1"
    async with session_with(server) as session, session.ws_connect(path, protocols=WEBSOCKET) as socket:
        last = await socket.receive_bytes()
        assert (last[:1], msgspec.json.decode(last[1:])) == (b"\x03", node.failure.body)


async def test_to_run_a_command_one_must_be_allowed_to_create_it(
    server: KubeServer, store: ResourceStore, node: Node
) -> None:
    """A WebSocket begins with a GET; the right to get is not enough."""
    stored_pod(store, nodeName="n1")
    rules = [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}]
    store.create(CLUSTER_ROLE, {"metadata": {"name": "reads"}, "rules": rules})
    role = {"apiGroup": CLUSTER_ROLE.group, "kind": "ClusterRole", "name": "reads"}
    subjects = [{"apiGroup": CLUSTER_ROLE.group, "kind": "User", "name": "jane"}]
    store.create(CLUSTER_ROLE_BINDING, {"metadata": {"name": "reads"}, "roleRef": role, "subjects": subjects})
    path = f"{PATH}/exec?command=x&stdout=1"
    async with session_with(server, User("jane")) as session, session.get(path) as answer:
        assert answer.status == 403
        told = 'pods "p" is forbidden: User "jane" cannot create resource "pods/exec" in API group ""'
        assert (await answer.json())["message"] == f'{told} in the namespace "{NS}"'
    assert node.asked == []
