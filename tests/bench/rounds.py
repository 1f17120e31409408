"""A measurement repeated as often as time allows."""

import sys
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

R = TypeVar("R")


async def repeated(measure: Callable[[], Awaitable[R]], most: int, limit_s: float) -> list[R]:
    """Measure `most` times; once at least, but no round is begun that would probably end after `limit_s` seconds."""
    rounds: list[R] = []
    began = time.monotonic()
    longest_s = 0.0
    while not rounds or (len(rounds) < most and time.monotonic() - began + longest_s < limit_s):
        round_began = time.monotonic()
        rounds.append(await measure())
        took_s = time.monotonic() - round_began
        longest_s = max(longest_s, took_s)
        sys.stderr.write(f"round {len(rounds)} of {most} took {took_s:.0f} s\n")
    return rounds
