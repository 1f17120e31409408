"""Plays the recorded exchanges of one case against the embedded API and notes every difference.

Where the recorder waited for a controller or the kubelet (`poll`), the player writes what they had written.
"""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp

from simulator.kube.kinds import Object
from tests.kube.replay.corrections import corrected
from tests.kube.replay.placeholders import Placeholders
from tests.kube.replay.trimming import comparable, grown, of_namespace

Exchange = dict[str, Any]
ExchangeKey = tuple[str, str, int]
"""Topic, case and sequence number of an exchange."""

HEADERS = ("content-type", "warning", "retry-after", "allow", "location", "www-authenticate")
"""The headers that are compared; `vary` and `etag` are those of the discovery cache, whose hashes are the server's."""

_FIRST_REVISION = {"deployment.kubernetes.io/revision": "1"}
"""What the controller writes on a Deployment that has had one template."""
_RESOURCE = re.compile(r"/(?:api/v1|apis/[^/]+/[^/]+)/(?:namespaces/[^/]+/)?([^/?]+)")


def scratch(exchange: Exchange) -> str:
    """The namespace of the exchange's case."""
    return f"scratch-{exchange['topic']}-{exchange['case']}".replace("_", "-")


@dataclass
class Outcome:
    """One exchange that was compared."""

    topic: str
    case: str
    seq: int
    differences: list[str] = field(default_factory=list)

    @property
    def key(self) -> ExchangeKey:
        """What the list of known differences has it under."""
        return self.topic, self.case, self.seq


class Watch:
    """A recorded watch, followed while the rest of its case is played."""

    def __init__(self, response: aiohttp.ClientResponse, recorded: Exchange, outcome: Outcome) -> None:
        self._response = response
        self._recorded = recorded["response"]
        self._outcome = outcome

    async def finish(self, names: Placeholders, *, strip: bool) -> None:
        """Compare what the stream delivered, and how it ended."""
        recorded = [event["event"] for event in self._recorded["events"] if not _is_progress(event["event"])]
        lines: list[Any] = []
        while len(lines) < len(recorded):
            line = await self._response.content.readline()
            if not line:
                break
            event = json.loads(line)
            if not _is_progress(event):
                lines.append(event)
        if self._recorded["ended"]["by"] == "server":
            rest = [json.loads(line) for line in (await self._response.content.read()).splitlines()]
            lines += [event for event in rest if not _is_progress(event)]
        self._response.close()
        self._outcome.differences += names.differences(recorded, _stripped(lines) if strip else lines, "events")


class Player:
    """Plays one case."""

    def __init__(self, sessions: Mapping[str, aiohttp.ClientSession]) -> None:
        """`sessions` by user: "" for the administrator, and the `user` of the recordings."""
        self._sessions = sessions
        self._names = Placeholders()
        self._watches: list[Watch] = []
        self._columns: dict[str, Any] = {}
        self.outcomes: list[Outcome] = []

    async def play(self, exchange: Exchange) -> None:
        """Send the request, and compare the answer unless it only prepared."""
        if exchange.get("poll"):
            await self._play_controllers(exchange)
        recorded = exchange["response"]
        response = await self._send(corrected(exchange))
        if not exchange.get("watch") and not exchange.get("setup"):
            await response.read()
        compared = Outcome(exchange["topic"], exchange["case"], exchange["seq"])
        compared.differences += self._of_head(recorded, response)
        if "events" in recorded and not compared.differences:
            self._watches.append(Watch(response, exchange, compared))
            self.outcomes.append(compared)
            return
        text = await response.text()
        self._names.learn_pod_volume(text)
        answered = _body_of(text, response.headers.get("Content-Type", ""))
        strip = not exchange["topic"].endswith("apply")
        if exchange.get("setup") or exchange.get("poll"):
            self._names.learn(recorded.get("body"), answered)
            assert not (exchange.get("setup") and compared.differences), (exchange["request"]["path"], answered)
            return
        pair = self._comparable(exchange, _stripped(answered) if strip else answered)
        compared.differences += self._names.differences(*pair)
        if compared.differences:
            self._names.learn(recorded.get("body"), answered)
        self.outcomes.append(compared)

    async def finish(self) -> None:
        """Compare the watches, and the order of all resource versions (held against the last exchange)."""
        for watch in self._watches:
            await watch.finish(self._names, strip=True)
        if self.outcomes:
            self.outcomes[-1].differences += self._names.order_problems()

    async def _send(self, request: Exchange) -> aiohttp.ClientResponse:
        body = grown(self._names.fill_in(request.get("body")), request["path"])
        data = body if isinstance(body, str) else json.dumps(body) if body is not None else None
        return await self._sessions[request.get("user", "")].request(
            request["method"],
            self._names.fill_in(request["path"]).removeprefix("/"),
            headers=request["headers"],
            data=io.BytesIO(data.encode()) if data is not None else None,
            skip_auto_headers=["Accept", "Content-Type", "User-Agent"],
            allow_redirects=False,
        )

    def _of_head(self, recorded: Exchange, response: aiohttp.ClientResponse) -> list[str]:
        problems = []
        if response.status != recorded["status"]:
            problems.append(f"status {recorded['status']} was recorded, {response.status} answered")
        for name in HEADERS if recorded["headers"] else ():
            was, now = recorded["headers"].get(name), " || ".join(response.headers.getall(name, [])) or None
            if was != now:
                problems.append(f"header {name} {was!r} was recorded, {now!r} answered")
        return problems

    def _comparable(self, exchange: Exchange, answered: Any) -> tuple[Any, Any]:
        """Both bodies, cut to what the recording kept of its own."""
        recorded, path = exchange["response"].get("body"), exchange["request"]["path"]
        if not (isinstance(recorded, dict) and isinstance(answered, dict)):
            return recorded, answered
        if recorded.get("kind") == "Table":
            return self._tables(recorded, answered, path)
        if "/namespaces/" not in path:
            recorded, answered = of_namespace(recorded, scratch(exchange)), of_namespace(answered, scratch(exchange))
        return comparable(recorded, answered)

    def _tables(self, recorded: Object, answered: Object, path: str) -> tuple[Object, Object]:
        match = _RESOURCE.match(path)
        resource = match[1] if match else ""
        if recorded["columnDefinitions"] == "as above":
            recorded = {**recorded, "columnDefinitions": self._columns[resource]}
        self._columns[resource] = recorded["columnDefinitions"]
        return recorded, answered

    async def _play_controllers(self, exchange: Exchange) -> None:
        """Bring the object into the recorded state, as the scheduler, a controller or the kubelet would."""
        recorded, path = exchange["response"], exchange["request"]["path"].removeprefix("/")
        admin = self._sessions[""]
        async with admin.get(path) as response:
            now = await response.json()
            if response.status == recorded["status"] and "status" not in recorded["body"]:
                return
        if recorded["status"] == HTTPStatus.NOT_FOUND:
            await admin.delete(path, params={"gracePeriodSeconds": "0"})
            return
        if now["kind"] == "Pod" and "nodeName" not in now["spec"]:
            target = {"apiVersion": "v1", "kind": "Node", "name": "node-1"}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": now["metadata"]["name"]}}
            async with admin.post(f"{path}/binding", json={**binding, "target": target}) as response:
                assert response.status == HTTPStatus.CREATED, await response.text()
        body = {"status": self._names.fill_in(recorded["body"]["status"])}
        if now["kind"] == "Deployment":
            body["metadata"] = {"annotations": _FIRST_REVISION}
        headers = {"Content-Type": "application/merge-patch+json"}
        query = {"fieldManager": "kube-controller-manager"}
        async with admin.patch(
            f"{path}/status", data=json.dumps(_real_times(body)), headers=headers, params=query
        ) as response:
            assert response.status == HTTPStatus.OK, await response.text()


def _real_times(value: Any) -> Any:
    """The value with some time, address and id where the recording names one that has not been met."""
    text = re.sub(r'"time-\d+"', '"2026-01-01T00:00:00Z"', json.dumps(value))
    text = re.sub(r'"ip-\d+"', '"10.0.0.1"', re.sub(r"hex-\d+", "0" * 64, text))
    return json.loads(text)


def _is_progress(event: dict[str, Any]) -> bool:
    """Whether it is a bookmark that the real server sends now and then."""
    return event["type"] == "BOOKMARK" and "annotations" not in event["object"]["metadata"]


def _body_of(text: str, content_type: str) -> Any:
    return json.loads(text) if text.startswith("{") and content_type != "application/yaml" else text


def _stripped(value: Any) -> Any:
    """The value without managedFields, which the recordings of most topics leave out."""
    if isinstance(value, dict):
        return {name: _stripped(item) for name, item in value.items() if name != "managedFields"}
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    return value
