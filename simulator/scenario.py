"""What a scenario is, where scenarios are found, and how one is run on a target."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Final

from sidecar.queue import QueueError
from simulator.errors import SimulatorError, UsageError
from simulator.one_error import one_error
from simulator.targets.faults import Fault
from simulator.targets.local import local_target
from simulator.targets.target import OpenTarget, Target

ENTRY_POINT_GROUP: Final = "gpuunit_sim.scenarios"
"""Any installed package may add scenarios: an entry point of this group names an iterable of `Scenario`."""

SCENARIO_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named script. `summary` is the sentence that it proves; `play` raises `ScenarioFailure` when it is not true.

    `needs` are the faults that it injects: it is skipped where one of them is not possible.
    """

    name: str
    summary: str
    play: Callable[[Target], Awaitable[None]]
    needs: frozenset[Fault] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended: it passed, or `error` says why not, or `skipped` why it was not run.

    `directory` is set when the files were kept.
    """

    name: str
    passed: bool
    seconds: float
    error: str = ""
    skipped: str = ""
    directory: str = ""


def installed_scenarios() -> dict[str, Scenario]:
    """All scenarios of all installed packages, by name.

    Raises:
        UsageError: two packages use the same name.
    """
    found: dict[str, Scenario] = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        for scenario in entry_point.load():
            if scenario.name in found:
                raise UsageError(f"two installed packages define the scenario {scenario.name!r}: remove one of them")
            found[scenario.name] = scenario
    return dict(sorted(found.items()))


def select(names: Iterable[str], known: dict[str, Scenario]) -> list[Scenario]:
    """The named scenarios, in the order given, each once.

    Raises:
        UsageError: a name is unknown; the message gives the nearest ones.
    """
    chosen = []
    for name in dict.fromkeys(names):
        if name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else "'unitsim list' shows all"
            raise UsageError(f"no scenario {name!r}: {hint}")
        chosen.append(known[name])
    return chosen


async def run_scenario(
    scenario: Scenario, open_target: OpenTarget = local_target, timeout_s: float = SCENARIO_TIMEOUT_S
) -> Outcome:
    """Run one scenario on a target of its own and say how it ended.

    Raises:
        EnvironmentMissing, UsageError: there is no such target here; that is not the scenario's failure.
    """
    started = time.monotonic()
    error, skipped, directory = "", "", ""
    try:
        with one_error():
            async with asyncio.timeout(timeout_s), open_target() as target:
                directory = str(target.directory or "")
                skipped = target.faults.refusal(scenario.needs)
                if not skipped:
                    await scenario.play(target)
    except TimeoutError:
        error = f"not finished within {timeout_s:g} s"
    except (SimulatorError, QueueError) as failure:
        if isinstance(failure, SimulatorError) and failure.exit_code != 1:
            raise
        error = str(failure)
    passed = not error and not skipped
    return Outcome(scenario.name, passed, time.monotonic() - started, error, skipped, directory)
