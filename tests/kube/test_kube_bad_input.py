"""Whatever a client sends, the answer is an object or a Status: never a fault of the server."""

import asyncio
import copy
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from simulator.kube.kinds import ALL_KINDS, GPUUNIT, NAMESPACE, POD, Kind, Object
from simulator.kube.schema.go_json import MAX_DEPTH
from simulator.kube.schema.model import Schema
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from tests.kube.samples import NS, sample
from tests.kube.sessions import session_with

UNITS = f"apis/runtime.lokiwager.io/v1alpha1/namespaces/{NS}/gpuunits"
PODS = f"api/v1/namespaces/{NS}/pods"
WAIT_S = 60
JSON, YAML = "application/json", "application/yaml"
PATCHES = (
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
)
WRONG: list[Any] = [
    None, 0, -1, 2**31, 2**63, 1.5, 1e300, "", "x", "X y", "a/b", "..", "\0", "é" * 5, "10%", "1Gi", "x" * 300, True,
    "2020-01-01T00:00:00Z", [], {}, [None], [{}], [[]], [1], ["x", "x"], {"a": None}, {"a": 1}, {"": ""}, {"a": {}},
    [{"name": "a"}, {"name": "a"}], [{"name": None}], [{"type": "x"}], {"matchExpressions": [{}]},
]  # fmt: skip
SCHEMAS = ResourceStore().registry
Ask = Callable[[tuple[str, str, bytes, str]], tuple[int, Object]]
LAUGHS = "".join(f"l{depth}: &l{depth} [{', '.join(f'*l{depth - 1}' for _ in range(9))}]\n" for depth in range(1, 9))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values within an object, and of fields that its objects could have."""
    yield path
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in items:
        yield from places(item, (*path, step))


def schema_of(schema: Schema | None, path: tuple[Any, ...]) -> Schema | None:
    for step in path:
        schema = schema and (schema.items if isinstance(step, int) else schema.property(step))
    return schema


def wrong_values(schema: Schema | None) -> st.SearchStrategy[Any]:
    """Values of any type, and objects of which some fields are right by name."""
    fields = (schema.items or schema).properties if schema is not None else {}
    if not fields:
        return st.sampled_from(WRONG)
    objects = st.dictionaries(st.sampled_from(sorted(fields)), st.sampled_from(WRONG), max_size=3)
    return st.one_of(st.sampled_from(WRONG), objects, st.lists(objects, max_size=2))


@st.composite
def mutated(draw: st.DrawFn, obj: Object, schema: Schema) -> Object:
    """The object with some of its values, or of those that it could have, taken away or replaced."""
    obj = copy.deepcopy(obj)
    for _ in range(draw(st.integers(1, 3))):
        inside = [path for path in places(obj) if path]
        if not inside:
            break
        path: tuple[Any, ...] = draw(st.sampled_from(inside))
        at, parent = schema_of(schema, path), obj
        for step in path[:-1]:
            parent = parent[step]
        fields: list[str] = sorted(at.properties) if at is not None and isinstance(parent[path[-1]], dict) else []
        into_it = bool(draw(st.booleans()))
        if fields and into_it:
            name: str = draw(st.sampled_from(fields))
            parent[path[-1]][name] = copy.deepcopy(draw(wrong_values(schema_of(at, (name,)))))
        elif draw(st.integers(0, 4)):
            parent[path[-1]] = copy.deepcopy(draw(wrong_values(at)))
        else:
            del parent[path[-1]]
    return obj


@st.composite
def operations(draw: st.DrawFn, obj: Object) -> list[Object]:
    """A JSON patch for the object, of which most operations fail."""
    paths = st.sampled_from(["/" + "/".join(map(str, path)) for path in places(obj)])
    operation = st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "replace", "remove", "test", "copy", "move", "x"]), "path": paths},
        optional={"value": st.sampled_from(WRONG), "from": paths},
    )
    return draw(st.lists(operation, min_size=1, max_size=3))


def path_of(kind: Kind) -> str:
    root = f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"
    return f"{root}/namespaces/{NS}/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"


@pytest.fixture
def faults(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the server logged of requests that it failed to handle."""
    caplog.set_level(logging.ERROR, "aiohttp.server")
    return caplog.records


async def asked(
    session: aiohttp.ClientSession, method: str, path: str, body: bytes, media_type: str
) -> tuple[int, Object]:
    async with session.request(method, path, data=body, headers={"Content-Type": media_type}) as response:
        return response.status, await response.json()


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Ask a server that has one object of every kind, from outside of its event loop."""
    store = ResourceStore(namespaces=("default", NS, "x"))
    for kind in ALL_KINDS:
        if kind != NAMESPACE:
            store.create(kind, sample(kind), NS if kind.namespaced else None)
    with asyncio.Runner() as runner:
        server = KubeServer(store)
        runner.run(server.__aenter__())
        session = runner.run(opened(server))
        yield lambda request: runner.run(asked(session, *request))
        runner.run(session.close())
        runner.run(server.__aexit__(None, None, None))


async def opened(server: KubeServer) -> aiohttp.ClientSession:
    return session_with(server)


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.kind)
@settings(max_examples=20, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_an_object_with_something_wrong_is_answered(
    kind: Kind, ask: Ask, faults: list[logging.LogRecord], data: st.DataObject
) -> None:
    schema = SCHEMAS.of(kind).schema
    name = sample(kind)["metadata"]["name"]
    one = f"{path_of(kind)}/{name}"
    _, live = ask(("GET", one, b"", JSON))
    live["metadata"].pop("resourceVersion")
    changed = mutated(live, schema)
    one += data.draw(st.sampled_from(["", "", "/status", "/scale"]))
    requests: list[tuple[str, str, Any, str]] = [
        ("POST", path_of(kind), data.draw(mutated(sample(kind, "y"), schema)), JSON),
        ("PUT", one, data.draw(changed), JSON),
        *(
            ("PATCH", one, data.draw(operations(live) if "json-patch" in patch else changed), patch)
            for patch in PATCHES
        ),
    ]
    for method, path, body, media_type in requests:
        status, answer = ask((method, f"{path}?dryRun=All&fieldManager=f", json.dumps(body).encode(), media_type))
        assert answer["kind"] == "Status" or status < 300
        assert not faults, (method, path, body)


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b"[]", JSON),
        (b"null", JSON),
        (b"\xff\xfe", JSON),
        (b'{"a":"\xff"}', JSON),
        (b'{"metadata":{"name":"\\ud800"}}', JSON),
        (b'{"apiVersion":1}', JSON),
        (b'{"kind":[]}', JSON),
        (b'{"metadata":[]}', JSON),
        (b'{"spec":{"a":1e999}}', JSON),
        (b"[" * 100_000, JSON),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), JSON),
        (b'{"spec":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH, JSON),
        (b"- " * 100_000, YAML),
        (f"l0: &l0 x\n{LAUGHS}".encode(), YAML),
        (b"a: &a\n  b: *a\n", YAML),
        (b"a: *b", YAML),
        (b"<<: 5", YAML),
        (b"!!python/object:os.system x", YAML),
        (b"a: !!set {b, c}", YAML),
        (b"a\0b", YAML),
        (b"", YAML),
        (b"{}", "text/plain"),
        (b"\x00\x01", "application/vnd.kubernetes.protobuf"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    server: KubeServer, store: ResourceStore, faults: list[logging.LogRecord], body: bytes, media_type: str
) -> None:
    store.create(GPUUNIT, sample(GPUUNIT), NS)
    store.create(POD, sample(POD), NS)
    version = store.version
    async with asyncio.timeout(WAIT_S), session_with(server) as session:
        for path in (UNITS, PODS):
            for method, target in (("POST", path), ("PUT", f"{path}/x"), ("PUT", f"{path}/x/status")):
                status, answer = await asked(session, method, target, body, media_type)
                assert (400 <= status < 500, answer["kind"]) == (True, "Status")
            for patch in PATCHES if media_type == JSON else ("application/apply-patch+yaml",):
                status, answer = await asked(session, "PATCH", f"{path}/x?fieldManager=f", body, patch)
                assert answer["kind"] in ("Status", "Pod", "GPUUnit")
    assert not faults
    assert store.version == version


@pytest.mark.parametrize(
    "path",
    [
        f"{PODS}/x/nope", f"{PODS}/x/status/x", f"{PODS}/x/exec", f"{PODS}/x/log/x", f"{UNITS}/x/scale",
        f"api/v1/namespaces/{NS}/nope", "api/v9/pods", "apis/nope/v1/x", "apis/apps/v1beta9/deployments",
        f"{PODS}/%ff", f"{PODS}/a%00b", f"{PODS}?labelSelector=%ff", f"{PODS}?fieldSelector=%00=x",
        f"{PODS}?continue=%ff", f"{PODS}?limit=x", f"{PODS}?watch=1&resourceVersion=x",
        f"{PODS}?timeoutSeconds=x&watch=1",
    ],
)  # fmt: skip
async def test_a_path_that_leads_nowhere_is_answered(
    server: KubeServer, faults: list[logging.LogRecord], path: str
) -> None:
    async with asyncio.timeout(WAIT_S), session_with(server) as session:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"):
            async with session.request(method, path, data=b"{}", headers={"Content-Type": JSON}) as response:
                await response.read()
    assert not faults
