"""What a scenario is, where scenarios are found, and how one is run on a platform of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Final

from simulator.errors import SimulatorError, UsageError
from simulator.platform import Platform, PlatformOptions, run_platform

ENTRY_POINT_GROUP: Final = "gpuunit_sim.scenarios"
"""Any installed package may add scenarios: an entry point of this group names an iterable of `Scenario`."""

SCENARIO_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named script. `summary` is the sentence that it proves; `play` raises `ScenarioFailure` when it is not true."""

    name: str
    summary: str
    play: Callable[[Platform], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended. `error` is empty when it passed; `directory` is set when the files were kept."""

    name: str
    passed: bool
    seconds: float
    error: str = ""
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
    scenario: Scenario, options: PlatformOptions | None = None, timeout_s: float = SCENARIO_TIMEOUT_S
) -> Outcome:
    """Run one scenario on a platform of its own and say how it ended.

    Raises:
        EnvironmentMissing: the platform cannot start here; that is not the scenario's failure.
    """
    options = options or PlatformOptions()
    started = time.monotonic()
    error, directory = "", ""
    try:
        async with asyncio.timeout(timeout_s), run_platform(options) as platform:
            directory = str(platform.directory) if options.keep else ""
            await scenario.play(platform)
    except TimeoutError:
        error = f"not finished within {timeout_s:g} s"
    except SimulatorError as failure:
        if failure.exit_code != 1:
            raise
        error = str(failure)
    return Outcome(scenario.name, not error, time.monotonic() - started, error, directory)
