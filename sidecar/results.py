"""What this sidecar already answered, so that a redelivered invocation is answered again and not run again (S11)."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MAX_RESULTS: Final = 1000
MAX_RESULT_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A result as it was published."""

    invocation_id: str
    request_id: str
    reply_subject: str
    data: bytes


class RecentResults:
    """The newest results, bounded in number and in bytes."""

    def __init__(self, max_results: int = MAX_RESULTS, max_bytes: int = MAX_RESULT_BYTES) -> None:
        self._max_results = max_results
        self._max_bytes = max_bytes
        self._results: OrderedDict[str, StoredResult] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._results)

    def find(self, invocation_id: str) -> StoredResult | None:
        """Return the result of an invocation, if it is still remembered."""
        result = self._results.get(invocation_id)
        if result is not None:
            self._results.move_to_end(invocation_id)
        return result

    def add(self, result: StoredResult) -> None:
        """Remember a result; the longest unused ones make room. One larger than all the room is not kept."""
        self._forget(result.invocation_id)
        if len(result.data) > self._max_bytes:
            return
        self._results[result.invocation_id] = result
        self._bytes += len(result.data)
        while len(self._results) > self._max_results or self._bytes > self._max_bytes:
            self._forget(next(iter(self._results)))

    def _forget(self, invocation_id: str) -> None:
        old = self._results.pop(invocation_id, None)
        if old is not None:
            self._bytes -= len(old.data)
