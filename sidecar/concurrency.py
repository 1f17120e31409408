"""How many dispatches a worker holds at once, and in which stage (S4): pure arithmetic.

A held dispatch is waiting (fetched, not started), running (the framework works on it) or concluding (its result, reply
and ack are under way). Only running ones count against `concurrency`.
"""

from typing import Final

MAX_CONCURRENCY: Final = 1024
"""Calls that one worker may run at once."""
MIN_CONCLUDING: Final = 8
"""So many may be concluding even at low concurrency: acks take a round trip, calls may take less."""


def ahead(concurrency: int) -> int:
    """How many are fetched ahead of free places: half as many as run at once, at least one.

    The next ones are there when places become free, and little is stranded if the process dies.
    """
    return max(concurrency // 2, 1)


def most_concluding(concurrency: int) -> int:
    """From so many concluding ones on nothing is fetched: acks are slow."""
    return max(MIN_CONCLUDING, concurrency)


def max_ack_pending(concurrency: int) -> int:
    """The consumer's limit that matches: all that a worker may hold."""
    return concurrency + ahead(concurrency) + most_concluding(concurrency)


def fetch_batch(concurrency: int, waiting: int, running: int, concluding: int) -> int:
    """How many deliveries to fetch now; 0 is none.

    Small gaps are not worth a request, unless a place is idle.
    """
    if concluding >= most_concluding(concurrency):
        return 0
    spare = ahead(concurrency)
    wanted = concurrency + spare - running - waiting
    idle_place = waiting == 0 and running < concurrency
    return wanted if idle_place or wanted > spare // 2 else 0
