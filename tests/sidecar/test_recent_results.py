"""S11: the memory of answered invocations, bounded in number, in bytes and in time."""

import pytest

from sidecar.results import RecentResults, StoredResult


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def stored(name: str, size: int = 1) -> StoredResult:
    return StoredResult(name, "pool", "", b"x" * size)


def found(recent: RecentResults, names: str) -> str:
    return "".join(name for name in names if recent.find(name) is not None)


def test_the_longest_unused_results_make_room() -> None:
    recent = RecentResults(max_results=2)
    recent.add(stored("a"))
    recent.add(stored("b"))
    assert recent.find("a") == stored("a")
    recent.add(stored("c"))
    assert found(recent, "abc") == "ac"


def test_the_bytes_are_bounded() -> None:
    recent = RecentResults(max_bytes=10)
    recent.add(stored("a", 6))
    recent.add(stored("b", 4))
    assert len(recent) == 2
    recent.add(stored("b", 5))
    assert found(recent, "ab") == "b"
    recent.add(stored("huge", 11))
    assert recent.find("huge") is None
    assert recent.find("b") is not None


@pytest.mark.parametrize(("passed_s", "kept"), [(0, "ab"), (59, "ab"), (60, ""), (3600, "")])
def test_the_time_since_the_last_use_is_bounded(passed_s: float, kept: str) -> None:
    clock = Clock()
    recent = RecentResults(keep_s=60, clock=clock)
    recent.add(stored("a"))
    recent.add(stored("b"))
    clock.now += passed_s
    assert found(recent, "ab") == kept
    assert len(recent) == len(kept)


def test_a_result_that_is_found_is_kept_anew() -> None:
    clock = Clock()
    recent = RecentResults(keep_s=60, clock=clock)
    recent.add(stored("a"))
    recent.add(stored("b"))
    clock.now += 40
    assert found(recent, "a") == "a"
    clock.now += 40
    assert found(recent, "ab") == "a"


def test_what_is_forgotten_by_age_frees_its_bytes() -> None:
    clock = Clock()
    recent = RecentResults(max_bytes=10, keep_s=60, clock=clock)
    recent.add(stored("a", 10))
    clock.now += 60
    recent.add(stored("b", 5))
    recent.add(stored("c", 5))
    assert found(recent, "abc") == "bc"
