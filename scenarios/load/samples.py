"""What a run of locust leaves behind, and what it says: pure functions of the requests' times."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

Mode: TypeAlias = Literal["sync", "async"]

RESULTS: Final[Mapping[Mode, str]] = {"sync": "sync", "async": "async result"}
"""By the mode of a call, the request whose time is that from the call to its result."""

WARM_UP_SHARE: Final = 0.2
"""Of a run's time: callers come one after the other, and connections are made."""


class Sample(NamedTuple):
    """One request: its start in Unix time, and how long it took."""

    name: str
    started: float
    milliseconds: float
    succeeded: bool


class Samples(msgspec.Struct, frozen=True):
    """The file that the locust file writes."""

    samples: list[Sample]
    cpu_seconds: float


class Measured(msgspec.Struct, frozen=True):
    """One mode at one number of callers. Percentiles in milliseconds; not a number when nothing succeeded."""

    invocations: int
    failures: int
    per_second: float
    p50_ms: float
    p99_ms: float


def percentile(values: Iterable[float], percent: int) -> float:
    """The nearest-rank percentile; not a number when there is none."""
    ordered = sorted(values)
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)] if ordered else math.nan


def measured(samples: Sequence[Sample], mode: Mode, seconds: float) -> Measured:
    """Sum up a run of `seconds`: how many calls ended, how fast, and how long those took that succeeded.

    Throughput and percentiles are of the calls that ended in the run's time and not in its warm-up; the counts are of
    all. What only ended while the callers were stopped would make the rate look better than it is.
    """
    calls = [sample for sample in samples if sample.name == RESULTS[mode]]
    failures = sum(not sample.succeeded for sample in samples)
    if not calls:
        return Measured(0, failures, 0.0, math.nan, math.nan)
    began = min(sample.started for sample in samples)
    first, last = began + seconds * WARM_UP_SHARE, began + seconds
    counted = [
        call.milliseconds
        for call in calls
        if call.succeeded and first <= call.started + call.milliseconds / 1000 < last
    ]
    return Measured(
        invocations=len(calls),
        failures=failures,
        per_second=len(counted) / (last - first),
        p50_ms=percentile(counted, 50),
        p99_ms=percentile(counted, 99),
    )
