"""Who takes which invocation (A1): oldest first, least outstanding first, never above capacity, only the live."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.activator.assignment import Assignment, Waiting, assign
from simulator.activator.fleet import Condition, Worker


def worker(name: str, outstanding: int = 0, capacity: int = 1, condition: Condition = Condition.LIVE) -> Worker:
    return Worker(
        name=name,
        namespace="ns",
        pool="p",
        condition=condition,
        managed=True,
        capacity=capacity,
        outstanding=outstanding,
        since=0.0,
        idle_since=0.0,
    )


def waiting(*sequences: int) -> list[Waiting]:
    return [Waiting(f"i{sequence}", sequence) for sequence in sequences]


def pairs(assignments: list[Assignment]) -> list[tuple[str, str]]:
    return [(each.invocation_id, each.worker_name) for each in assignments]


@pytest.mark.parametrize(
    ("queue", "workers", "expected"),
    [
        pytest.param([1], [], [], id="nobody there"),
        pytest.param([], [worker("a")], [], id="nobody waits"),
        pytest.param([1], [worker("b"), worker("a")], [("i1", "a")], id="ties by name"),
        pytest.param([1], [worker("a", 1, 2), worker("b", 0, 2)], [("i1", "b")], id="least outstanding"),
        pytest.param([3, 1, 2], [worker("a", 0, 2)], [("i1", "a"), ("i2", "a")], id="oldest first, up to capacity"),
        pytest.param([1], [worker("a", 1, 1), worker("b", 3, 2)], [], id="full, and over-full"),
        pytest.param(
            [1, 2, 3, 4],
            [worker("a", 0, 3), worker("b", 1, 3)],
            [("i1", "a"), ("i2", "a"), ("i3", "b"), ("i4", "a")],
            id="levels out",
        ),
        pytest.param([1, 2, 3], [worker("a"), worker("b"), worker("c")], [("i1", "a"), ("i2", "b"), ("i3", "c")]),
    ],
)
def test_a1_assign(queue: list[int], workers: list[Worker], expected: list[tuple[str, str]]) -> None:
    assert pairs(assign(waiting(*queue), workers)) == expected


@pytest.mark.parametrize("condition", [each for each in Condition if each is not Condition.LIVE])
def test_only_live_workers_are_given_work(condition: Condition) -> None:
    assert assign(waiting(1), [worker("a", condition=condition)]) == []


@given(
    st.lists(st.integers(1, 10_000), unique=True, max_size=200),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=8),
)
def test_a1_assign_is_full_fair_and_within_capacity(queue: list[int], loads: list[tuple[int, int]]) -> None:
    workers = [worker(f"w{number}", *load) for number, load in enumerate(loads)]
    assignments = assign(waiting(*queue), workers)
    room = sum(max(each.capacity - each.outstanding, 0) for each in workers)
    assert [each.invocation_id for each in assignments] == [f"i{n}" for n in sorted(queue)[:room]]
    given_to = Counter(each.worker_name for each in assignments)
    load = {each.name: each.outstanding + given_to[each.name] for each in workers}
    assert all(load[each.name] <= max(each.capacity, each.outstanding) for each in workers)
    for taker in workers:
        if given_to[taker.name]:
            spare = [each for each in workers if load[each.name] < each.capacity]
            assert all(load[taker.name] <= load[each.name] + 1 for each in spare)
