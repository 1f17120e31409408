"""Plays the people and the kubelet of a recording to the controllers, and notes what these write."""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from simulator.controllers.controllers import Controllers
from simulator.errors import NotFoundError
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer, Key
from simulator.kube.kinds import DEPLOYMENT, EVENT, NAMESPACE, NODE, POD, REPLICA_SET, Kind, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.nodes import GPU, NodeSpec, register_nodes
from tests.controllers.recording import GONE, Line, as_written, scheduled, state_of
from tests.kube.sessions import session_with

NODE_NAME = "node-1"
RENAMED = ("Pod", "ReplicaSet")
"""Kinds whose objects get a random name or a hash: in the order of their creation they are those of the recording."""
TIME_SCALE = 0.25
TIMEOUT_S = 10
ABRUPT_S = 1.0
"""Recorded work of the controllers that came so long after the last input was caused by something else."""


class Player:
    """`expected` and `observed` are what became of each object, state by state, with the recorded names.

    `momentary` are states, by kind and position, that need not be observed.
    """

    def __init__(
        self,
        cluster: Cluster,
        session: aiohttp.ClientSession,
        recorded: list[Line],
        momentary: Collection[tuple[str, int]],
    ) -> None:
        self._cluster = cluster
        self._session = session
        self.namespace = namespace = recorded[0].raw["path"].split("/")[5]
        self._start = datetime.now(UTC) - timedelta(seconds=max(line.t for line in recorded if line.input == "action"))
        self._momentary = momentary
        self._informers = {kind: Informer(cluster, kind, namespace) for kind in (DEPLOYMENT, REPLICA_SET, POD, EVENT)}
        self._recorded = {
            kind: [line.name for line in recorded if line.kind == kind and line.raw["type"] == "ADDED"]
            for kind in RENAMED
        }
        self._ours: dict[str, list[str]] = defaultdict(list)
        self._changed = asyncio.Event()
        self._last_input = 0.0
        self._labels = 0
        self.expected: dict[tuple[str, str], list[Any]] = defaultdict(list)
        self.observed: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for kind, informer in self._informers.items():
            informer.on_change(lambda key, kind=kind: self._note(kind, key))  # type: ignore[misc]

    async def run(self) -> None:
        """Note what happens until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                group.create_task(informer.run())

    async def play(self, line: Line) -> None:
        """Take one line: an input is carried out when what came before it is settled."""
        if line.input is None:
            if line.raw.get("reason") == "FailedScheduling" and line.t - self._last_input > ABRUPT_S:
                await self.settle()
                self._last_input = line.t
                await self._touch_node()
            self.expected[line.kind, line.name].append(line.state)
            return
        await self.settle()
        self._last_input = line.t
        match line.input:
            case "action":
                await self._act(line.raw)
            case "pod status":
                status = as_written(line.raw["status"], self._start)
                await self._cluster.patch_status(POD, self._actual(line.name), {"status": status}, self.namespace)
            case "pod gone":
                with contextlib.suppress(NotFoundError):
                    await self._cluster.delete(POD, self._actual(line.name), self.namespace, grace_period_s=0)

    async def settle(self) -> None:
        """Wait until each object went through the states that the recording has of it so far."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while self._unsettled():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(self.report(self._unsettled())) from None

    def report(self, objects: list[tuple[str, str]]) -> str:
        """What was expected and observed of these objects, for people."""
        return "\n".join(
            f"{' '.join(each)}\n"
            + "".join(f"  expected {json.dumps(state, sort_keys=True)}\n" for state in self.expected[each])
            + "".join(f"  observed {json.dumps(state, sort_keys=True)}\n" for state in self.observed[each])
            for each in objects
        )

    def _unsettled(self) -> list[tuple[str, str]]:
        return [each for each in self.expected if not self._is_settled(*each)]

    def _is_settled(self, kind: str, name: str) -> bool:
        expected, observed = self.expected[kind, name], self.observed[kind, name]
        if kind == "Event":  # pods of one step are deleted in any order
            return all(state in observed for state in expected)
        rest = iter(observed)  # the recording may have missed what lasted for a moment only
        lasting = (state for number, state in enumerate(expected) if (kind, number) not in self._momentary)
        return all(state in rest for state in lasting)

    async def _act(self, raw: Object) -> None:
        if "method" not in raw:
            if GPU in raw["do"]:
                await register_nodes(self._cluster, [node(gpus=1)])
            return
        path, body = raw["path"], raw["body"]
        for kind in RENAMED:
            for name, actual in zip(self._recorded[kind], self._ours[kind], strict=False):
                path = path.replace(name, actual)
        patch = {"Content-Type": "application/merge-patch+json"} if raw["method"] == "PATCH" else {}
        async with self._session.request(raw["method"], path.lstrip("/"), json=body, headers=patch) as response:
            assert response.status == raw["status"], await response.text()

    async def _touch_node(self) -> None:
        self._labels += 1
        await self._cluster.patch(NODE, NODE_NAME, {"metadata": {"labels": {"changed": str(self._labels)}}})

    def _actual(self, recorded: str) -> str:
        return self._ours["Pod"][self._recorded["Pod"].index(recorded)]

    def _note(self, kind: Kind, key: Key) -> None:
        obj, name = self._informers[kind].get(*key), key[1]
        if obj is not None and kind in (REPLICA_SET, POD) and name not in self._ours[kind.kind]:
            self._ours[kind.kind].append(name)
        if kind == EVENT:
            if obj is not None:
                self._note_event(obj)
        elif kind == POD:
            if obj is not None and "startTime" not in (obj.get("status") or {}):
                self._add("Pod", name, scheduled(obj.get("status") or {}))
        else:
            self._add(kind.kind, name, state_of(obj) if obj else GONE)
        self._changed.set()

    def _note_event(self, event: Object) -> None:
        about, source = event["involvedObject"], event["source"].get("component") or event["reportingComponent"]
        state = {
            "first": not (event.get("series") or event.get("count", 1) > 1),
            "type": event["type"],
            "reason": event["reason"],
            "message": self._as_recorded(event["message"]),
            "source": source,
            "count": event.get("count"),
        }
        self._add("Event", f"{about['kind']} {about['name']}", state)

    def _add(self, kind: str, name: str, state: Any) -> None:
        text = self._as_recorded(json.dumps(state))
        states = self.observed[kind, self._as_recorded(name)]
        if states[-1:] != [json.loads(text)] or kind == "Event":
            states.append(json.loads(text))

    def _as_recorded(self, text: str) -> str:
        for kind in RENAMED:
            for actual, name in zip(self._ours[kind], self._recorded[kind], strict=False):
                text = text.replace(actual, name)
        return text


def node(gpus: int) -> NodeSpec:
    """The node of the recordings."""
    return NodeSpec(NODE_NAME, cpu="2", memory="24477616Ki", gpus=gpus)


@contextlib.asynccontextmanager
async def playing(
    directory: Path, recorded: list[Line], gpus: int, momentary: Collection[tuple[str, int]] = ()
) -> AsyncIterator[Player]:
    """The controllers at work in an API of their own, and a player who knows the recorded names."""
    async with KubeServer(ResourceStore()) as server, session_with(server) as session, asyncio.TaskGroup() as group:
        kubeconfig = directory / "kubeconfig"
        server.write_kubeconfig(kubeconfig)
        async with Cluster(kubeconfig, field_manager="tests") as cluster:
            player = Player(cluster, session, recorded, momentary)
            await cluster.create(NAMESPACE, {"metadata": {"name": player.namespace}})
            await register_nodes(cluster, [node(gpus)])
            tasks = [group.create_task(part.run()) for part in (Controllers(cluster, TIME_SCALE), player)]
            try:
                yield player
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
