"""What this sidecar already answered, so that a redelivered invocation is answered again and not run again (S11)."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

MAX_RESULTS: Final = 1000
MAX_RESULT_BYTES: Final = 16 * 1024 * 1024
KEEP_S: Final = 15 * 60.0
"""Longer than any redelivery takes: three times the default ack wait."""


class StoredResult(msgspec.Struct, frozen=True):
    """A result as it was published."""

    invocation_id: str
    request_id: str
    reply_subject: str
    data: bytes


class RecentResults:
    """The newest results, bounded in number, in bytes, and in the seconds since they were added or last found.

    `clock` returns seconds and never goes back. Results lie in the order of their last use, so the ones to forget
    are always the first: each call does a constant amount of work, spread over time.
    """

    def __init__(
        self,
        max_results: int = MAX_RESULTS,
        max_bytes: int = MAX_RESULT_BYTES,
        keep_s: float = KEEP_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_results = max_results
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._clock = clock
        self._results: OrderedDict[str, tuple[float, StoredResult]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._results)

    def find(self, invocation_id: str) -> StoredResult | None:
        """Return the result of an invocation, if it is still remembered."""
        if invocation_id not in self._results:
            return None
        now = self._clock()
        self._forget_older(now - self._keep_s)
        entry = self._results.get(invocation_id)
        if entry is None:
            return None
        self._results[invocation_id] = (now, entry[1])
        self._results.move_to_end(invocation_id)
        return entry[1]

    def add(self, result: StoredResult) -> None:
        """Remember a result; the longest unused ones make room. One larger than all the room is not kept."""
        now = self._clock()
        self._forget_older(now - self._keep_s)
        self._forget(result.invocation_id)
        if len(result.data) > self._max_bytes:
            return
        self._results[result.invocation_id] = (now, result)
        self._bytes += len(result.data)
        while len(self._results) > self._max_results or self._bytes > self._max_bytes:
            self._forget(next(iter(self._results)))

    def _forget_older(self, last_use: float) -> None:
        while self._results:
            invocation_id, (used, _) = next(iter(self._results.items()))
            if used > last_use:
                return
            self._forget(invocation_id)

    def _forget(self, invocation_id: str) -> None:
        old = self._results.pop(invocation_id, None)
        if old is not None:
            self._bytes -= len(old[1].data)
