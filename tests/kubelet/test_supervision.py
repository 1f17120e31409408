"""How the end of a container's run is brought about, with a process and a hook that the test holds in its hands."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from simulator.kubelet import supervision
from simulator.kubelet.stopping import Stopping
from simulator.kubelet.supervision import Ending, Supervision


class Told:
    """Takes what is reported."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.record = SimpleNamespace(name="main")

    def emit(self, reason: str, message: str, kind: str = "Normal") -> None:
        """Note an event."""
        self.events.append(reason)


class Child:
    """A process that ends when the test says so."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.exit_code: int | None = None

    async def wait(self) -> int:
        """Wait for the end."""
        await self.ended.wait()
        return 0

    async def terminate(self, grace_s: float) -> int:
        """End; only the test can."""
        return await self.wait()


async def test_a_hook_whose_server_is_killed_before_its_container_has_not_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pod is killed container by container: the connection to the sidecar breaks before the main one is gone."""
    asked, broken, failed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def ask(*_: object) -> str:
        asked.set()
        await broken.wait()
        failed.set()
        return "Server disconnected"

    monkeypatch.setattr(supervision, "ask", ask)
    told, child, stopping = Told(), Child(), Stopping(1)
    execution = SimpleNamespace(pre_stop=object(), probes={}, start_command=None)
    context = SimpleNamespace(node=SimpleNamespace(session=None), pod={"spec": {}}, full_name="pod")
    run = cast("Any", Supervision)(context, told, stopping, child, execution).run(asyncio.Event())
    stopping.ask(600)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        ending = group.create_task(run)
        await asked.wait()
        stopping.ask(0)
        broken.set()
        await failed.wait()
        child.ended.set()
    assert ending.result() is Ending.STOPPED
    assert told.events == ["Killing"]
