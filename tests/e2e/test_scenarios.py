"""Every scenario of this repository, each on a platform of its own."""

import pytest

from scenarios import SCENARIOS
from simulator.scenario import Scenario, run_scenario
from simulator.targets.faults import Fault
from simulator.targets.local import NO_NETWORK

pytestmark = pytest.mark.e2e


def test_there_are_scenarios_with_different_names() -> None:
    assert len(SCENARIOS) >= 15
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


def test_every_fault_is_needed_by_a_scenario() -> None:
    assert set().union(*(scenario.needs for scenario in SCENARIOS)) == set(Fault)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_scenario(scenario: Scenario) -> None:
    outcome = await run_scenario(scenario)
    assert outcome.error == ""
    if Fault.QUEUE_UNREACHABLE in scenario.needs:
        assert outcome.skipped == f"queue-unreachable: {NO_NETWORK}"
    else:
        assert outcome.passed
