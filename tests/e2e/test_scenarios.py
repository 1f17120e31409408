"""Every scenario of this repository, each on a platform of its own."""

import pytest

from scenarios import SCENARIOS
from simulator.scenario import Scenario, run_scenario

pytestmark = pytest.mark.e2e


def test_there_are_scenarios_with_different_names() -> None:
    assert len(SCENARIOS) >= 5
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_scenario(scenario: Scenario) -> None:
    outcome = await run_scenario(scenario)
    assert outcome.error == ""
    assert outcome.passed
