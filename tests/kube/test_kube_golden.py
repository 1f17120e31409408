"""Answers of a real Kubernetes 1.36, recorded, against those of the embedded API.

`golden/<topic>.jsonl` holds recorded exchanges; those of one case are played in order in a namespace of their own.
Names such as `rv-3`, `uid-1` and `time-2` stand for what differs from run to run: within a case each stands for one
value, and resource versions keep their order.
"""

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simulator.kube.kinds import ALL_KINDS, NAMESPACE, Kind
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore

GOLDEN = Path(__file__).parent / "golden"
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps", has_status=False, has_generation=False)
WAIT_S = 10
LITERALS = re.compile(r"(rv-\d+|uid-\d+|time-\d+|rnd\d\d)")
FORMS = {"rv": r"\d+", "uid": r"[0-9a-f-]{36}", "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "rnd": r"[a-z0-9]{5}"}

Exchange = dict[str, Any]

CHANGED_AFTERWARDS = "the recorder changed this answer afterwards, to send it back as the next request"
NOT_COMPARED = {
    ("update", "put_ok", 1): CHANGED_AFTERWARDS,
    ("update", "put_ok", 2): CHANGED_AFTERWARDS,
    ("update", "put_ok", 4): CHANGED_AFTERWARDS,
    ("update", "put_stale", 1): CHANGED_AFTERWARDS,
    ("update", "put_stale", 4): CHANGED_AFTERWARDS,
    ("update", "status_isolation", 1): CHANGED_AFTERWARDS,
    ("update", "status_isolation", 2): CHANGED_AFTERWARDS,
    ("delete", "grace", 10): "a scheduler had written the pod's status",
}
"""Exchanges that are played for what follows from them, and not compared."""


def recorded_cases() -> Iterator[list[Exchange]]:
    for file in sorted(GOLDEN.glob("*.jsonl")):
        exchanges = [json.loads(line) for line in file.read_text().splitlines()]
        for _, lines in itertools.groupby(exchanges, key=lambda exchange: exchange["case"]):
            yield list(lines)


class Names:
    """What the recorded names stand for in this run."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def fill_in(self, value: Any) -> Any:
        """The recorded value with the names replaced by what they stand for."""
        text = json.dumps(value)
        return json.loads(LITERALS.sub(lambda match: self.known.get(match[0], match[0]), text))

    def check(self, recorded: Any, answered: Any, where: str = "") -> None:
        """Assert that the answer is the recorded one, and learn what the names in it stand for."""
        if isinstance(recorded, dict) and isinstance(answered, dict):
            assert sorted(recorded) == sorted(answered), where
            for name, value in recorded.items():
                self.check(value, answered[name], f"{where}.{name}")
        elif isinstance(recorded, list) and isinstance(answered, list):
            assert len(recorded) == len(answered), where
            for index, (one, other) in enumerate(zip(recorded, answered, strict=True)):
                self.check(one, other, f"{where}[{index}]")
        elif isinstance(recorded, str) and isinstance(answered, str):
            self._check_text(recorded, answered, where)
        else:
            assert recorded == answered, where

    def learn(self, recorded: Any, answered: Any) -> None:
        """Take over the ids of an answer that is not compared."""
        for field in ("uid", "resourceVersion"):
            name = (recorded.get("metadata") or {}).get(field)
            if name:
                self.known[name] = answered["metadata"][field]

    def check_order(self) -> None:
        """Assert that the resource versions are in the order of the recorded ones."""
        versions = sorted((int(name[3:]), int(value)) for name, value in self.known.items() if name.startswith("rv-"))
        assert [version for _, version in versions] == sorted({version for _, version in versions})

    def _check_text(self, recorded: str, answered: str, where: str) -> None:
        parts = LITERALS.split(recorded)
        pattern = "".join(self._pattern(part) for part in parts)
        match = re.fullmatch(pattern, answered, re.DOTALL)
        assert match, f"{where}: {recorded!r} was recorded, {answered!r} was answered"
        for name, value in match.groupdict().items():
            if not name.startswith("time"):  # seconds may pass between two answers
                self.known[name.replace("_", "-")] = value

    def _pattern(self, part: str) -> str:
        if not LITERALS.fullmatch(part):
            return re.escape(part)
        if part in self.known:
            return re.escape(self.known[part])
        form = next(form for prefix, form in FORMS.items() if part.startswith(prefix))
        return f"(?P<{part.replace('-', '_')}>{form})"


def comparable(recorded: Any, answered: Any) -> tuple[Any, Any]:
    """Both bodies, cut to what the recording kept of its own."""
    if not isinstance(recorded, dict) or "trimmed" not in recorded:
        return recorded, answered
    kept = {name: value for name, value in recorded.items() if name != "trimmed"}
    if recorded["trimmed"] == "items to names":
        answered = {**answered, "items": [item["metadata"]["name"] for item in answered["items"]]}
    cut = {name: value for name, value in answered.items() if name in kept}
    if "metadata" in kept and "metadata" in cut:
        cut["metadata"] = {name: value for name, value in cut["metadata"].items() if name in kept["metadata"]}
    return kept, cut


def body_of(text: str, content_type: str) -> Any:
    return json.loads(text) if content_type == "application/json" and text else text


def is_progress(event: dict[str, Any]) -> bool:
    """Whether it is a bookmark that the real server sends now and then."""
    return event["type"] == "BOOKMARK" and "annotations" not in event["object"]["metadata"]


class Watch:
    """A recorded watch, followed while the rest of its case is played."""

    def __init__(self, response: aiohttp.ClientResponse, recorded: Exchange) -> None:
        self._response = response
        self._recorded = recorded["response"]

    async def check(self, names: Names) -> None:
        recorded = [event["event"] for event in self._recorded["events"] if not is_progress(event["event"])]
        lines = [json.loads(await self._response.content.readline()) for _ in recorded]
        names.check(recorded, lines, "events")
        if self._recorded["ended"]["by"] == "server":
            assert await self._response.content.read() == b""
        self._response.close()


class Player:
    """Plays one case."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._names = Names()
        self._watches: list[Watch] = []
        self.compared = 0

    async def play(self, exchange: Exchange) -> None:
        request, recorded = exchange["request"], exchange["response"]
        body = self._names.fill_in(request.get("body"))
        data = body if isinstance(body, str) else json.dumps(body) if body is not None else None
        response = await self._session.request(
            request["method"],
            self._names.fill_in(request["path"]).removeprefix("/"),
            headers=request["headers"],
            data=data.encode() if data is not None else None,
            skip_auto_headers=["Accept", "Content-Type"],
        )
        assert response.status == recorded["status"], await response.text()
        if "content-type" in recorded["headers"]:
            assert response.headers["Content-Type"] == recorded["headers"]["content-type"]
        if "events" in recorded:
            self._watches.append(Watch(response, exchange))
            self.compared += 1
            return
        answered = body_of(await response.text(), response.headers["Content-Type"])
        if (exchange["topic"], exchange["case"], exchange["seq"]) in NOT_COMPARED:
            self._names.learn(recorded["body"], answered)
            return
        self._names.check(*comparable(recorded["body"], answered))
        self.compared += not exchange.get("setup")

    async def finish(self) -> None:
        for watch in self._watches:
            await watch.check(self._names)
        self._names.check_order()


@pytest.fixture
async def store() -> ResourceStore:
    return ResourceStore((*ALL_KINDS, CONFIG_MAP))


@pytest.fixture
async def session(store: ResourceStore) -> AsyncIterator[aiohttp.ClientSession]:
    async with KubeServer(store) as server, aiohttp.ClientSession(f"{server.private_url}/") as session:
        yield session


CASES = list(recorded_cases())


@pytest.mark.parametrize("exchanges", CASES, ids=[f"{case[0]['topic']}-{case[0]['case']}" for case in CASES])
async def test_recorded_exchange(
    exchanges: list[Exchange], store: ResourceStore, session: aiohttp.ClientSession
) -> None:
    topic, case = exchanges[0]["topic"], exchanges[0]["case"]
    store.create(NAMESPACE, {"metadata": {"name": f"scratch-{topic}-{case}".replace("_", "-")}})
    player = Player(session)
    async with asyncio.timeout(WAIT_S):
        for exchange in exchanges:
            await player.play(exchange)
        await player.finish()
    assert player.compared > 0


def test_the_selection_is_there() -> None:
    compared = sum(
        (exchange["topic"], exchange["case"], exchange["seq"]) not in NOT_COMPARED
        for case in CASES
        for exchange in case
    )
    assert {case[0]["topic"] for case in CASES} == {
        "create", "read", "update", "patch", "delete", "watch", "errors", "discovery",
    }  # fmt: skip
    assert compared > 200
