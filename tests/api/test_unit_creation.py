"""Creating a unit once, whatever others create and delete at the same instant (contract 4.2; P9, P10)."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from simulator.api import unit_creation
from simulator.api.unit_creation import CREATE_ATTEMPTS
from simulator.api.unit_objects import new_unit
from simulator.api.units_request import UnitCreate
from simulator.errors import KubeError

if TYPE_CHECKING:
    from simulator.kube.client import Listing
    from simulator.kube.kinds import Object
    from tests.api.conftest import Api, StubCluster

REQUEST = UnitCreate("op-1", "tts", {"specName": "s1", "image": "tts:1"})
STRANGER = UnitCreate("op-9", "tts", {"specName": "s9", "image": "other"})
SAME_OPERATION = UnitCreate("op-1", "stt", {"specName": "s1", "image": "tts:1"})


async def test_concurrent_equal_creates_create_once(api: "Api", cluster: "StubCluster") -> None:
    answers = await asyncio.gather(*(api.create() for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
    assert cluster.writes == ["create"]


async def test_concurrent_creates_of_two_names_with_one_operation_id_create_one(
    api: "Api", cluster: "StubCluster"
) -> None:
    answers = await asyncio.gather(api.create(name="a"), api.create(name="b"))
    assert sorted(answer.status for answer in answers) == [201, 409]
    assert cluster.writes == ["create"]


async def test_p9_equal_creates_at_two_api_processes_create_once(
    api: "Api", other_api: "Api", cluster: "StubCluster"
) -> None:
    answers = await asyncio.gather(*(client.create() for client in (api, other_api) * 4))
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
    assert cluster.writes == ["create"]


async def test_p9_a_create_that_another_process_won_is_a_replay(api: "Api", cluster: "StubCluster") -> None:
    cluster.rivals.append(lambda: cluster.put(new_unit(REQUEST)))
    answer = await api.create()
    assert (answer.status, answer.data["name"]) == (200, "tts")
    assert cluster.writes == []


async def test_p10_a_lost_race_for_the_name_is_a_conflict(api: "Api", cluster: "StubCluster") -> None:
    cluster.rivals.append(lambda: cluster.put(new_unit(STRANGER)))
    answer = await api.create()
    assert (answer.status, answer.code) == (409, "operation_conflict")
    assert cluster.units["tts"]["spec"]["image"] == "other"


async def test_p10_a_name_that_comes_and_goes_is_a_conflict_in_the_end(api: "Api", cluster: "StubCluster") -> None:
    listed = cluster.list_with_version

    async def list_after_delete(*args: object, **kwargs: object) -> "Listing":
        cluster.units.clear()
        return await listed(*args, **kwargs)  # type: ignore[arg-type]

    cluster.list_with_version = list_after_delete  # type: ignore[method-assign]
    cluster.rivals.extend([lambda: cluster.put(new_unit(STRANGER))] * CREATE_ATTEMPTS)
    answer = await api.create()
    assert (answer.status, answer.code) == (409, "operation_conflict")
    assert cluster.rivals == []


async def test_p9_whose_unit_comes_later_takes_it_back(api: "Api", cluster: "StubCluster") -> None:
    """Another process creates a unit of another name with the same operation ID, between our look and our create."""
    cluster.rivals.append(lambda: cluster.put(new_unit(SAME_OPERATION)))
    answer = await api.create()
    assert (answer.status, answer.code) == (409, "operation_conflict")
    assert "'stt'" in answer.message
    assert list(cluster.units) == ["stt"]
    assert cluster.writes == ["create", "delete"]


async def test_p9_whose_unit_comes_first_keeps_it(api: "Api", cluster: "StubCluster") -> None:
    async def rival() -> None:
        cluster.put(new_unit(SAME_OPERATION))

    cluster.before_watch = rival
    answer = await api.create()
    assert (answer.status, answer.data["name"]) == (201, "tts")
    assert cluster.writes == ["create"]


async def test_p9_a_rival_that_went_away_before_does_not_count(api: "Api", cluster: "StubCluster") -> None:
    def come_and_go() -> None:
        cluster.put(new_unit(SAME_OPERATION))
        cluster.drop("stt")

    cluster.rivals.append(come_and_go)
    assert (await api.create()).status == 201
    assert list(cluster.units) == ["tts"]


async def test_p9_a_rival_with_another_operation_id_does_not_count(api: "Api", cluster: "StubCluster") -> None:
    cluster.rivals.append(lambda: cluster.put(new_unit(UnitCreate("op-2", "stt", {"specName": "s1", "image": "i"}))))
    assert (await api.create()).status == 201
    assert sorted(cluster.units) == ["stt", "tts"]


async def test_p9_a_winner_that_is_deleted_at_once_leaves_room(api: "Api", cluster: "StubCluster") -> None:
    deleted = cluster.delete

    async def delete_both(*args: object, **kwargs: object) -> None:
        cluster.drop("stt")
        await deleted(*args, **kwargs)  # type: ignore[arg-type]

    cluster.delete = delete_both  # type: ignore[method-assign]
    cluster.rivals.append(lambda: cluster.put(new_unit(SAME_OPERATION)))
    assert (await api.create()).status == 201
    assert list(cluster.units) == ["tts"]


async def test_p9_another_unit_of_the_name_is_not_taken_back(api: "Api", cluster: "StubCluster") -> None:
    def replace(told: "Object") -> None:
        if told["metadata"]["name"] == "stt":
            cluster.drop("tts")
            cluster.put(new_unit(STRANGER))

    cluster.when_told = replace
    cluster.rivals.append(lambda: cluster.put(new_unit(SAME_OPERATION)))
    assert (await api.create()).status == 409
    assert cluster.units["tts"]["spec"]["image"] == "other"
    assert "delete" not in cluster.writes


async def test_p9_two_units_that_an_api_process_left_behind_are_named(api: "Api", cluster: "StubCluster") -> None:
    """It was killed between its create and its second look: nothing is deleted that somebody may use."""
    for request in (REQUEST, SAME_OPERATION):
        cluster.put(new_unit(request))
    answer = await api.create()
    assert (answer.status, answer.code) == (409, "operation_conflict")
    assert "'stt', 'tts'" in answer.message


async def test_p9_a_cluster_that_does_not_tell_who_came_first_is_an_error(
    api: "Api", cluster: "StubCluster", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_creation, "HISTORY_TIMEOUT_S", 0.01)
    cluster.before_watch = asyncio.Event().wait
    answer = await api.create()
    assert (answer.status, answer.code) == (500, "create_gpuunit_failed")
    assert (await api.create()).status == 200


async def test_p9_a_creation_goes_on_when_its_client_leaves(api: "Api", cluster: "StubCluster") -> None:
    """Half of it would be a unit of which nobody looked whether it came first."""
    looking, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def look() -> None:
        looking.set()
        await go_on.wait()

    deleted = cluster.delete

    async def delete(*args: object, **kwargs: object) -> None:
        await deleted(*args, **kwargs)  # type: ignore[arg-type]
        done.set()

    cluster.before_watch, cluster.delete = look, delete  # type: ignore[method-assign]
    cluster.rivals.append(lambda: cluster.put(new_unit(SAME_OPERATION)))
    call = asyncio.create_task(api.create())
    async with asyncio.timeout(10):
        await looking.wait()
        call.cancel()
        await asyncio.wait([call])
        go_on.set()
        await done.wait()
    assert list(cluster.units) == ["stt"]


async def test_p9_an_error_after_the_create_leaves_the_unit_to_a_replay(api: "Api", cluster: "StubCluster") -> None:
    async def fail() -> None:
        raise KubeError("the watch broke")

    cluster.before_watch = fail
    answer = await api.create()
    assert (answer.status, answer.message) == (500, "the watch broke")
    assert (await api.create()).status == 200
    assert cluster.writes == ["create"]
