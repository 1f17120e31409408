"""What one activator holds: lines in order, counts that add up, and claims that are refreshed (A3, A10)."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from sidecar.queue import QueueUnavailableError
from simulator.activator.held import Held, HeldInvocations
from tests.activator.parts import StubClaim, invocation, turns, until

OPERATIONS = ["add", "take", "put_back", "drop"]
POOLS = ["p", "q"]


@dataclass
class Time:
    now: float = 100.0
    connected: bool = True
    held: HeldInvocations = field(init=False)

    def __post_init__(self) -> None:
        self.held = HeldInvocations(15.0, lambda: self.now, lambda: self.connected)

    def add(self, invocation_id: str = "a", pool: str = "p", sequence: int = 1, size: int = 10) -> Held:
        held = Held(invocation(invocation_id, pool), StubClaim(), sequence, size)
        self.held.add(held)
        return held


def heard(held: Held) -> list[str]:
    assert isinstance(held.claim, StubClaim)
    return held.claim.heard


@given(
    st.lists(
        st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 5), st.sampled_from(POOLS), st.integers(1, 9)),
        max_size=60,
    )
)
def test_whatever_happens_lines_are_in_order_and_counts_add_up(steps: list[tuple[str, int, str, int]]) -> None:
    """A2, A10: also where something is settled twice, or two pools have an invocation of the same ID."""
    lines = Time().held
    made: dict[int, Held] = {}
    waiting: set[int] = set()
    for kind, number, pool, sequence in steps:
        held = made.get(number)
        if kind == "add":
            new = Held(invocation(f"i{number}", pool), StubClaim(), sequence, number)
            lines.add(new)
            if held is None:
                made[number] = new
                waiting.add(number)
        elif held is not None:
            getattr(lines, kind)(held)
            waiting.discard(number)
            if kind == "put_back":
                waiting.add(number)
            elif kind == "drop":
                del made[number]
        check(lines, made, waiting)


def check(lines: HeldInvocations, made: dict[int, Held], waiting: set[int]) -> None:
    assert lines.count == len(made) == len(lines.all())
    assert lines.size == sum(held.size for held in made.values())
    assert set(lines.pools()) == {made[number].pool for number in waiting}
    for pool in POOLS:
        expected = sorted(made[number].sequence for number in waiting if made[number].pool == pool)
        assert [held.sequence for held in lines.line(pool)] == expected
        assert len(lines.line(pool)) == len(expected)
    for number, held in made.items():
        assert (lines.line(held.pool).get(f"i{number}") is held) == (number in waiting)


def test_what_comes_again_goes_to_its_old_place() -> None:
    time = Time()
    first, second = time.add("a", sequence=1), time.add("b", sequence=2)
    time.held.take(first)
    assert list(time.held.line("p")) == [second]
    time.held.put_back(first)
    assert list(time.held.line("p")) == [first, second]


def test_what_was_dropped_does_not_come_back() -> None:
    """A10: whoever concludes late, after it was settled, changes nothing."""
    time = Time()
    held = time.add()
    time.held.take(held)
    time.held.drop(held)
    time.held.drop(held)
    time.held.take(held)
    time.held.put_back(held)
    assert (time.held.count, time.held.size, time.held.pools(), time.held.all()) == (0, 0, [], [])


def test_room_is_made_by_what_leaves() -> None:
    time = Time()
    held = time.add()
    time.held.take(held)
    assert not time.held.room.is_set()
    time.held.drop(held)
    assert time.held.room.is_set()


def test_a10_what_was_not_refreshed_in_time_is_not_given_out() -> None:
    time = Time()
    held = time.add()
    time.now += 14.9
    assert time.held.is_fresh(held)
    time.now += 0.1
    assert not time.held.is_fresh(held)


def test_what_the_queue_does_not_know_is_valid_as_long_as_somebody_says_so() -> None:
    """S13: of a lost worker's dispatches only the leader decides."""
    leads = True
    time = Time()
    held = Held(invocation("a"), StubClaim(), 1, 1, is_valid=lambda: leads)
    time.held.add(held)
    assert time.held.is_fresh(held)
    leads = False
    assert not time.held.is_fresh(held)


class RefreshedTime(Time):
    """With an ack wait short enough to wait for its thirds; counts how often the connection was asked for."""

    def __init__(self, ack_wait_s: float) -> None:
        super().__init__()
        self.looks = 0
        self.held = HeldInvocations(ack_wait_s, lambda: self.now, self._is_connected)

    def _is_connected(self) -> bool:
        self.looks += 1
        return self.connected

    async def looked(self, times: int) -> None:
        await until(lambda: self.looks >= times)


async def test_a3_all_held_are_refreshed_at_a_third_of_the_ack_wait_by_one_task() -> None:
    time, count = RefreshedTime(0.03), 500
    waiting = [time.add(f"i{number}", sequence=number) for number in range(count)]
    out = time.add("out")
    time.held.take(out)
    before = len(asyncio.all_tasks())
    task = asyncio.create_task(time.held.keep_alive())
    time.now += 0.02
    await until(lambda: heard(waiting[-1]))
    assert len(asyncio.all_tasks()) == before + 1
    assert all(heard(held)[0] == "in progress" for held in (*waiting, out))
    time.now += 0.02  # past the first ack wait, within the second
    assert all(time.held.is_fresh(held) for held in waiting)
    task.cancel()
    await asyncio.wait([task])


async def test_a3_nothing_is_refreshed_while_the_connection_is_lost() -> None:
    """A10: what is written then arrives too late to be counted on."""
    time = RefreshedTime(0.003)
    held = time.add()
    time.connected = False
    task = asyncio.create_task(time.held.keep_alive())
    await time.looked(3)
    assert heard(held) == []
    time.connected = True
    await until(lambda: heard(held))
    task.cancel()
    await asyncio.wait([task])


async def test_a10_what_is_stale_is_not_refreshed_any_more() -> None:
    """Another activator may have it: nobody must be kept from taking it over when that one dies."""
    time = RefreshedTime(0.003)
    stale = time.add("stale", sequence=1)
    time.now += 1
    fresh = time.add("fresh", sequence=2)
    task = asyncio.create_task(time.held.keep_alive())
    await until(lambda: heard(fresh))
    assert heard(stale) == []
    task.cancel()
    await asyncio.wait([task])


async def test_a_refresh_that_cannot_be_sent_does_not_count() -> None:
    time = RefreshedTime(0.003)
    held, other = time.add("a", sequence=1), time.add("b", sequence=2)
    assert isinstance(held.claim, StubClaim)
    held.claim.refuses = QueueUnavailableError("the buffer is full")
    task = asyncio.create_task(time.held.keep_alive())
    time.now += 0.002
    await until(lambda: heard(other))
    await turns()
    time.now += 0.002
    assert (time.held.is_fresh(held), time.held.is_fresh(other)) == (False, True)
    task.cancel()
    await asyncio.wait([task])
