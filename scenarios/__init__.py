"""Scenario scripts: each proves one sentence about the platform, wherever that runs."""

from collections.abc import Awaitable, Callable, Iterable

from scenarios import faults, invocations
from scenarios.world import World, world_of
from simulator.scenario import Scenario
from simulator.targets.faults import Fault
from simulator.targets.target import Target

Script = Callable[[World], Awaitable[None]]


def scenario_of(script: Script, needs: Iterable[Fault] = ()) -> Scenario:
    """Make a script runnable: its name with dashes is the scenario's, its docstring's first line the summary."""

    async def play(target: Target) -> None:
        async with world_of(target) as world:
            await script(world)

    summary = (script.__doc__ or "").strip().splitlines()[0]
    return Scenario(script.__name__.replace("_", "-"), summary, play, frozenset(needs))


SCENARIOS = [scenario_of(script) for script in invocations.SCRIPTS]
SCENARIOS += [scenario_of(script, needs) for script, needs in faults.SCRIPTS.items()]
