"""Finding scenarios by name, and saying how a run ended."""

import pytest

from scenarios import SCENARIOS, scenario_of
from scenarios.world import World, expect
from simulator.errors import ScenarioFailure, UsageError
from simulator.scenario import installed_scenarios, select


def test_the_builtin_scenarios_are_installed() -> None:
    assert {scenario.name for scenario in SCENARIOS} <= set(installed_scenarios())


def test_select_keeps_the_order_and_drops_repetitions() -> None:
    known = {scenario.name: scenario for scenario in SCENARIOS}
    chosen = select(["no-such-pool", "sync-echo", "no-such-pool"], known)
    assert [scenario.name for scenario in chosen] == ["no-such-pool", "sync-echo"]


@pytest.mark.parametrize(("name", "hint"), [("async-ecko", "did you mean async-echo"), ("qqq", "unitsim list")])
def test_an_unknown_name_is_answered_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        select([name], {scenario.name: scenario for scenario in SCENARIOS})


def test_a_script_is_named_and_described_by_itself() -> None:
    async def some_script(world: World) -> None:
        """One sentence.

        More of it.
        """

    scenario = scenario_of(some_script)
    assert (scenario.name, scenario.summary) == ("some-script", "One sentence.")


def test_expect_says_what_was_wanted_and_what_came() -> None:
    expect("status code", 200, 200)
    with pytest.raises(ScenarioFailure, match="status code: expected 200, got 503"):
        expect("status code", 503, 200)
