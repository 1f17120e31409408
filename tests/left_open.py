"""What a coroutine leaves open when it is cancelled: in each turn of the loop, one after the other."""

import asyncio
import gc
import itertools
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

MOST_TURNS: Final = 1000

Scenario = Callable[[Callable[[], None]], Coroutine[Any, Any, None]]
"""Calls what it is given where the turns begin to count; from there on it may be cancelled."""


def left_open(scenario: Coroutine[Any, Any, None]) -> list[str]:
    """Run it in a loop of its own; return the complaints about sockets and transports that nobody closed."""
    with warnings.catch_warnings(record=True) as caught, _only_new_garbage():
        warnings.simplefilter("always", ResourceWarning)
        asyncio.run(scenario)
        gc.collect()
    return [str(warning.message) for warning in caught]


def left_open_by_turn(scenario: Scenario) -> dict[int, list[str]]:
    """Cancel `scenario` after 0, 1, 2... turns until it ends by itself; return the turns that left something open.

    The loop does not wait while turns are counted: a scenario whose peers are in the same loop takes the same turns
    each time.
    """
    found = {}
    for turn in itertools.count():
        assert turn < MOST_TURNS, "the scenario does not end"
        attempt = _Attempt(scenario, turn)
        if complaints := left_open(attempt.run()):
            found[turn] = complaints
        if not attempt.cancelled:
            assert turn, "the scenario ended before it could be cancelled"
            return found
    return found


class _Attempt:
    """One run, cancelled after so many turns."""

    def __init__(self, scenario: Scenario, turns: int) -> None:
        self._scenario = scenario
        self._turns = turns
        self.cancelled = False

    async def run(self) -> None:
        self._task = asyncio.create_task(self._scenario(self._begin))
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    def _begin(self) -> None:
        asyncio.get_running_loop().call_soon(self._tick)

    def _tick(self) -> None:
        if self._task.done():
            return
        if self._turns == 0:
            self.cancelled = self._task.cancel()
            return
        self._turns -= 1
        self._begin()


@contextmanager
def _only_new_garbage() -> Iterator[None]:
    """Have the collector look at what is made in the block, which takes no time, and blame nobody else for it."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
