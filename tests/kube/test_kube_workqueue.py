"""The work queue: each key as often as needed and never twice at a time."""

import asyncio

import pytest

from simulator.errors import ConflictError, KubeError
from simulator.kube.workqueue import FIRST_RETRY_S, LONGEST_RETRY_S, WorkQueue, retry_delay_s, run_controller

WAIT_S = 10


@pytest.mark.parametrize(
    ("failures", "delay_s"),
    [
        (1, FIRST_RETRY_S),
        (2, 2 * FIRST_RETRY_S),
        (4, 8 * FIRST_RETRY_S),
        (20, LONGEST_RETRY_S),
        (5000, LONGEST_RETRY_S),
    ],
)
def test_the_delay_doubles_up_to_a_limit(failures: int, delay_s: float) -> None:
    assert retry_delay_s(failures) == delay_s


async def test_a_key_that_waits_is_one_entry() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    async with asyncio.timeout(WAIT_S):
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        queue.add("c")
        assert await queue.get() == "c"


async def test_a_key_that_changes_during_its_work_is_worked_on_again_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    async with asyncio.timeout(WAIT_S):
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        queue.add("b")
        assert await queue.get() == "b"  # "a" is not given out twice at a time
        queue.done("a")
        assert await queue.get() == "a"
        queue.done("a")
        queue.add("c")
        assert await queue.get() == "c"


async def test_of_two_delays_the_shorter_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 3600)
    queue.add_after("a", 0)
    queue.add_after("a", 3600)
    async with asyncio.timeout(WAIT_S):
        assert await queue.get() == "a"


async def test_a_failed_key_is_retried_until_it_succeeds() -> None:
    queue: WorkQueue[str] = WorkQueue()
    failures = [KubeError("no answer"), ConflictError("changed"), ConnectionResetError(), TimeoutError()]
    tries: list[str] = []
    succeeded = asyncio.Event()

    async def reconcile(key: str) -> None:
        tries.append(key)
        if failures:
            raise failures.pop()
        succeeded.set()

    controller = asyncio.create_task(run_controller(queue, reconcile, name="test"))
    queue.add("a")
    async with asyncio.timeout(WAIT_S):
        await succeeded.wait()
    controller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await controller
    assert tries == ["a"] * 5


async def test_a_fault_of_the_program_surfaces() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")

    async def reconcile(key: str) -> None:
        raise LookupError(key)

    with pytest.raises(ExceptionGroup) as failure:
        async with asyncio.timeout(WAIT_S):
            await run_controller(queue, reconcile, name="test")
    assert failure.group_contains(LookupError)


async def test_workers_share_the_keys_and_none_is_in_two_hands() -> None:
    queue: WorkQueue[int] = WorkQueue()
    working: set[int] = set()
    most = 0
    worked: list[int] = []
    finished = asyncio.Event()

    async def reconcile(key: int) -> None:
        nonlocal most
        assert key not in working
        working.add(key)
        most = max(most, len(working))
        queue.add(key)  # a change during the work
        await asyncio.sleep(0)
        working.remove(key)
        worked.append(key)
        if len(worked) >= 30:
            finished.set()

    for key in range(5):
        queue.add(key)
    controller = asyncio.create_task(run_controller(queue, reconcile, name="test", workers=3))
    async with asyncio.timeout(WAIT_S):
        await finished.wait()
    controller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await controller
    assert most == 3
    assert set(worked) == set(range(5))
