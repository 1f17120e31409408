"""The memory of answered invocations: bounded in number and in bytes."""

from sidecar.results import RecentResults, StoredResult


def stored(name: str, size: int = 1) -> StoredResult:
    return StoredResult(name, "pool", "", b"x" * size)


def test_the_longest_unused_results_make_room() -> None:
    recent = RecentResults(max_results=2)
    recent.add(stored("a"))
    recent.add(stored("b"))
    assert recent.find("a") == stored("a")
    recent.add(stored("c"))
    assert [recent.find(name) is not None for name in "abc"] == [True, False, True]


def test_the_bytes_are_bounded() -> None:
    recent = RecentResults(max_bytes=10)
    recent.add(stored("a", 6))
    recent.add(stored("b", 4))
    assert len(recent) == 2
    recent.add(stored("b", 5))
    assert [recent.find(name) is not None for name in "ab"] == [False, True]
    recent.add(stored("huge", 11))
    assert recent.find("huge") is None
    assert recent.find("b") is not None
