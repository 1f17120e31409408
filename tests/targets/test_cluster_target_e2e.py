"""Scenarios on a platform that stays: every one of them that is possible there, and nothing of them left behind."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from scenarios import SCENARIOS
from scenarios.world import world_of
from simulator.kube.kinds import GPUUNIT, NETWORK_POLICY
from simulator.scenario import Scenario, run_scenario
from simulator.targets.cluster import cluster_target
from simulator.targets.cluster_faults import NO_SIGNALS
from simulator.targets.target import Target
from tests.targets.standing import Standing, standing_platform

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

NOT_WITH_PROCESSES = {"sidecar-ends", "framework-ends", "cut-off-from-the-queue"}


@pytest.fixture
async def platform_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Standing]:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    async with standing_platform(tmp_path) as standing:
        yield standing


async def test_all_scenarios(platform_there: Standing) -> None:
    """Each that can be run passes, twice in a row where IDs could be remembered; the others say why they cannot."""
    told: list[str] = []
    open_target = partial(cluster_target, platform_there.place, platform_there.way_in, told.append)
    before = await platform_there.cluster.list(NETWORK_POLICY)
    repeated = [scenario for scenario in SCENARIOS if scenario.name == "repeated-invocation"]
    for scenario in [*SCENARIOS, *repeated]:
        outcome = await run_scenario(scenario, open_target)
        assert outcome.error == "", outcome
        assert outcome.passed == (scenario.name not in NOT_WITH_PROCESSES), outcome
        assert (NO_SIGNALS in outcome.skipped) == (not outcome.passed), outcome
        assert await platform_there.cluster.list(GPUUNIT) == [], scenario.name
    assert told == []
    assert await platform_there.cluster.list(NETWORK_POLICY) == before


async def test_what_a_scenario_made_goes_however_it_ends(platform_there: Standing) -> None:
    """Interrupted while its units start: they are deleted before the interruption goes on; those of others stay."""
    told: list[str] = []
    made = asyncio.Event()

    async def play(target: Target) -> None:
        async with world_of(target) as world:
            await world.new_pool("p", workers=2)
            made.set()
            await asyncio.Event().wait()

    open_target = partial(cluster_target, platform_there.place, platform_there.way_in, told.append)
    running = asyncio.create_task(run_scenario(Scenario("s", "", play), open_target))
    making = asyncio.create_task(made.wait())
    await asyncio.wait([running, making], return_when=asyncio.FIRST_COMPLETED)
    assert making.done(), running.result()
    assert len(await platform_there.cluster.list(GPUUNIT)) == 2
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert await platform_there.cluster.list(GPUUNIT) == []
    assert told == []
