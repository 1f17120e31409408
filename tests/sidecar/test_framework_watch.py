"""When the framework's health is asked, and what the answers mean (S1, S2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from sidecar import framework_watch
from sidecar.framework_watch import FrameworkWatch


class Probe:
    """Answers with `healthy`; each question is an item of `asked`."""

    def __init__(self) -> None:
        self.healthy = False
        self.problem = ""
        self.asked: asyncio.Queue[bool] = asyncio.Queue()

    async def __call__(self) -> bool:
        self.asked.put_nowait(self.healthy)
        return self.healthy


@asynccontextmanager
async def watching(probe: Probe, changes: "asyncio.Queue[bool] | None" = None) -> AsyncIterator[FrameworkWatch]:
    watch = FrameworkWatch(
        probe, on_change=changes.put_nowait if changes is not None else None, problem=lambda: probe.problem
    )
    task = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(10):
            yield watch
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_asks_until_the_framework_is_healthy() -> None:
    probe = Probe()
    async with watching(probe) as watch:
        for _ in range(3):
            assert await probe.asked.get() is False
        assert not watch.healthy
        probe.healthy = True
        await watch.wait_healthy()


async def test_it_notices_when_the_framework_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framework_watch, "CHECK_INTERVAL_S", 0.01)
    probe = Probe()
    probe.healthy = True
    async with watching(probe) as watch:
        await watch.wait_healthy()
        probe.healthy = False
        while await probe.asked.get():
            pass
        await probe.asked.get()
        assert not watch.healthy


async def test_a_running_call_is_its_own_probe_until_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framework_watch, "CHECK_INTERVAL_S", 0.001)
    probe = Probe()
    probe.healthy = True
    async with watching(probe) as watch:
        await watch.wait_healthy()
        watch.call_began()
        while not probe.asked.empty():
            probe.asked.get_nowait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(probe.asked.get(), 0.05)
        watch.doubt()
        assert await probe.asked.get()
        watch.call_ended()
        assert await probe.asked.get()


async def test_an_unreachable_framework_is_unhealthy_at_once() -> None:
    probe = Probe()
    probe.healthy = True
    async with watching(probe) as watch:
        await watch.wait_healthy()
        watch.call_began()
        watch.unreachable()
        assert not watch.healthy
        await watch.wait_healthy()
        assert probe.asked.qsize() == 2


async def test_each_change_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """S2: what becomes the events framework_unhealthy and framework_healthy."""
    monkeypatch.setattr(framework_watch, "CHECK_INTERVAL_S", 0.001)
    probe, changes = Probe(), asyncio.Queue[bool]()
    async with watching(probe, changes) as watch:
        for _ in range(3):
            await probe.asked.get()
        assert changes.empty()
        probe.healthy = True
        assert await changes.get() is True
        for _ in range(3):
            await probe.asked.get()
        probe.healthy = False
        assert await changes.get() is False
        for _ in range(3):
            await probe.asked.get()
        watch.unreachable()
        assert changes.empty()
        probe.healthy = True
        assert await changes.get() is True
        watch.unreachable()
        assert changes.get_nowait() is False


async def test_a_probe_without_an_end_is_a_bad_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framework_watch, "PROBE_TIMEOUT_S", 0.01)
    asked = 0

    async def probe() -> bool:
        nonlocal asked
        asked += 1
        if asked < 3:
            await asyncio.Event().wait()
        return True

    watch = FrameworkWatch(probe)
    task = asyncio.create_task(watch.run())
    async with asyncio.timeout(10):
        await watch.wait_healthy()
    task.cancel()
    await asyncio.wait([task])
    assert asked == 3


async def test_each_reason_to_wait_is_logged_once() -> None:
    probe = Probe()
    probe.problem = "no socket"
    with capture_logs() as logs:
        async with watching(probe) as watch:
            for _ in range(3):
                await probe.asked.get()
            probe.problem = "loading"
            for _ in range(3):
                await probe.asked.get()
            probe.healthy = True
            await watch.wait_healthy()
    reasons = [line["reason"] for line in logs if line["event"] == "waiting for the framework"]
    assert reasons == ["no socket", "loading"]
