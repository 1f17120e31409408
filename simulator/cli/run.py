"""`unitsim run`: scenarios, one after the other, each on a platform of its own."""

from collections.abc import Sequence
from dataclasses import asdict

from simulator.cli.output import Output
from simulator.errors import NothingSelected
from simulator.platform import PlatformOptions
from simulator.scenario import Outcome, Scenario, run_scenario


async def run_scenarios(chosen: Sequence[Scenario], keep: bool, timeout_s: float, output: Output) -> int:
    """Run the scenarios and print a line for each; 1 when one failed.

    Raises:
        NothingSelected: there is none to run.
    """
    if not chosen:
        raise NothingSelected("no scenario selected: name some, or give --all; 'unitsim list' shows them")
    outcomes: list[Outcome] = []
    for scenario in chosen:
        outcome = await run_scenario(scenario, PlatformOptions(keep=keep), timeout_s)
        outcomes.append(outcome)
        _report(outcome, output)
    failed = sum(not outcome.passed for outcome in outcomes)
    output.say(f"{len(outcomes) - failed} passed, {failed} failed", style="red" if failed else "green")
    output.result([asdict(outcome) for outcome in outcomes])
    return 1 if failed else 0


def _report(outcome: Outcome, output: Output) -> None:
    if outcome.passed:
        output.say(f"ok    {outcome.name}  ({outcome.seconds:.1f} s)")
    else:
        output.say(f"FAIL  {outcome.name}  ({outcome.seconds:.1f} s)", style="red")
        output.say(f"      {outcome.error}")
    if outcome.directory:
        output.say(f"      files kept in {outcome.directory}")
