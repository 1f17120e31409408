"""What is kept of dispatches that are not their worker's any more."""

from typing import cast

from sidecar.queue import Queue
from simulator.activator.moved_away import MovedAway, MovedDispatch
from simulator.ledger.ledger import Ledger


def test_what_is_found_out_again_is_not_kept_twice() -> None:
    """The stream is read anew after each failure."""
    moved, once = MovedAway(cast("Queue", None), Ledger()), MovedDispatch("a", 7, 1)
    for each in (once, MovedDispatch("a", 7, 1), MovedDispatch("b", 9, 1)):
        moved.add("w", each)
    assert moved.known("w") == [once, MovedDispatch("b", 9, 1)]
