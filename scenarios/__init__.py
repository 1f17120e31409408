"""Scenario scripts: each proves one sentence about the platform, on a platform of its own."""

from collections.abc import Awaitable, Callable

from scenarios import invocations
from scenarios.world import World, world_of
from simulator.platform import Platform
from simulator.scenario import Scenario

Script = Callable[[World], Awaitable[None]]


def scenario_of(script: Script) -> Scenario:
    """Make a script runnable: its name with dashes is the scenario's, its docstring's first line the summary."""

    async def play(platform: Platform) -> None:
        async with world_of(platform) as world:
            await script(world)

    summary = (script.__doc__ or "").strip().splitlines()[0]
    return Scenario(script.__name__.replace("_", "-"), summary, play)


SCENARIOS = [scenario_of(script) for script in invocations.SCRIPTS]
