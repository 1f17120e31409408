"""Faults of a platform in this process: they happen to the unit that was named, and to no other."""

import pytest

from scenarios.local_world import LocalWorld
from simulator.gpuunit import RUNTIME_CONTAINER
from simulator.targets.faults import Fault
from simulator.targets.pods import wait_until_restarted
from simulator.units import echo_unit
from simulator.waiting import wait_until_ready

pytestmark = pytest.mark.e2e


async def test_a_unit_is_not_taken_for_one_whose_name_begins_alike(world: LocalWorld) -> None:
    for name in ("twin-2", "twin"):
        await world.api.create_unit(echo_unit("p") | {"name": name, "operationID": f"create-{name}"})
        await wait_until_ready(world.target.units, name)

    await world.inject(Fault.FRAMEWORK_ENDS, "twin")

    await wait_until_restarted(world.target.cluster, "twin", RUNTIME_CONTAINER, 30)
