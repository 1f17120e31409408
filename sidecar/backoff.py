"""Waiting times between attempts: growing, bounded, and spread by jitter so that workers do not act in step."""

import random
from collections.abc import Iterator


def jittered(first_s: float, longest_s: float) -> Iterator[float]:
    """Yield waits in seconds for ever: doubling from `first_s` to `longest_s`, each cut by up to a half."""
    wait_s = first_s
    while True:
        yield wait_s * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret
        wait_s = min(wait_s * 2, longest_s)
