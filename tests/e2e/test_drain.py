"""S14 through the whole platform: a unit is deleted while a call runs, and the call ends well."""

import sys

import pytest

from scenarios.local_world import LocalWorld

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

LONGER_THAN_A_FRAMEWORKS_OWN_GRACE = "7s"


@pytest.mark.platform(framework_command=(sys.executable, "-m", "framework.misbehave"))
async def test_a_deleted_unit_finishes_the_call_that_runs(world: LocalWorld) -> None:
    """Its framework is stopped before its sidecar, and has 5 s of its own: the preStop hook waits for the call."""
    pool = await world.ready_pool("p")
    await pool.submit({}, invocationID="long", attributes={"delay": LONGER_THAN_A_FRAMEWORKS_OWN_GRACE})
    await world.events_of("long", "invocation_started")
    await world.api.delete_unit("p-template")
    result = await world.result_of("long")
    assert (result.state, result.error) == ("succeeded", "")
    await world.platform.units.wait_for(lambda units: None if units.objects() else True, 40)
