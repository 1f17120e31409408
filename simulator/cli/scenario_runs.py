"""`unitsim run`: scenarios, one after the other, each on a target of its own."""

from collections.abc import Sequence
from dataclasses import asdict

from simulator.cli.output import Output
from simulator.errors import NothingSelected
from simulator.scenario import Outcome, Scenario, run_scenario
from simulator.targets.target import OpenTarget


async def run_scenarios(chosen: Sequence[Scenario], open_target: OpenTarget, timeout_s: float, output: Output) -> int:
    """Run the scenarios and print a line for each; 1 when one failed.

    Raises:
        NothingSelected: there is none to run.
    """
    if not chosen:
        raise NothingSelected("no scenario selected: name some, or give --all; 'unitsim list' shows them")
    outcomes: list[Outcome] = []
    for scenario in chosen:
        outcome = await run_scenario(scenario, open_target, timeout_s)
        outcomes.append(outcome)
        _report(outcome, output)
    output.say(*_summary(outcomes))
    output.result([asdict(outcome) for outcome in outcomes])
    return 1 if any(outcome.error for outcome in outcomes) else 0


def _summary(outcomes: Sequence[Outcome]) -> tuple[str, str]:
    """The last line and its style."""
    passed, failed = sum(outcome.passed for outcome in outcomes), sum(bool(outcome.error) for outcome in outcomes)
    skipped = len(outcomes) - passed - failed
    if skipped == len(outcomes):
        return f"nothing was proved: {skipped} skipped", "yellow"
    text = f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")
    return text, "red" if failed else "green"


def _report(outcome: Outcome, output: Output) -> None:
    if outcome.skipped:
        output.say(f"skip  {outcome.name}  {outcome.skipped}", style="yellow")
    elif outcome.passed:
        output.say(f"ok    {outcome.name}  ({outcome.seconds:.1f} s)")
    else:
        output.say(f"FAIL  {outcome.name}  ({outcome.seconds:.1f} s)", style="red")
        output.say(f"      {outcome.error}")
    if outcome.directory:
        output.say(f"      files kept in {outcome.directory}")
