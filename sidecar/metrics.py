"""What a sidecar counts, and its Prometheus exposition (S30).

Counting happens on every invocation, so it is plain numbers here; prometheus_client, dear to import, is only met by the
first scrape. No label has a value that a caller chooses.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client.core import Metric

PREFIX: Final = "serverless_sidecar"
BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Upper bounds in seconds: from an echo to a long generation."""


class Histogram:
    """Durations in seconds, counted by bucket."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Upper bound and count of all durations up to it, as Prometheus wants them."""
        buckets: list[tuple[str, float]] = []
        count = 0
        for bound, in_bucket in zip([*map(str, map(float, BUCKETS_S)), "+Inf"], list(self.counts), strict=True):
            count += in_bucket
            buckets.append((bound, count))
        return buckets


class Meters:
    """Everything that is counted, for one sidecar's life. The counters are plain attributes: add to them."""

    __slots__ = (
        "answered_from_memory",
        "dead_letters",
        "events_dropped",
        "events_failed",
        "handler",
        "inflight",
        "outcomes",
        "publish",
        "queue_wait",
        "reconnects",
        "redeliveries",
    )

    def __init__(self) -> None:
        self.inflight = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.queue_wait = Histogram()
        self.handler = Histogram()
        self.publish = Histogram()
        self.redeliveries = 0
        self.answered_from_memory = 0
        self.dead_letters: Counter[str] = Counter()
        self.reconnects = 0
        self.events_dropped = 0
        self.events_failed = 0

    def ended(self, state: str, failure_class: str) -> None:
        """Count an invocation by its result's `state` and `failureClass`."""
        self.outcomes[state, failure_class] += 1

    def dead_lettered(self, failure_class: str) -> None:
        """Count a message that could not be handled."""
        self.dead_letters[failure_class] += 1


def exposition(meters: Meters, info: Mapping[str, str], *, framework_healthy: bool, ready: bool) -> tuple[str, bytes]:
    """Return content type and body of a scrape, in the Prometheus text format.

    `info` is the labels of `serverless_sidecar_info`: `worker`, `namespace` and `pool`. The first call imports
    prometheus_client, some 120 ms: make it in a thread. Nothing of the process or the platform is in it.
    """
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(meters, info, framework_healthy=framework_healthy, ready=ready))
    return CONTENT_TYPE_LATEST, generate_latest(registry)


class _Collector:
    """Makes Prometheus's metrics of ours at a scrape; copies what the event loop may change meanwhile."""

    def __init__(self, meters: Meters, info: Mapping[str, str], *, framework_healthy: bool, ready: bool) -> None:
        self._meters = meters
        self._info = info
        self._framework_healthy = framework_healthy
        self._ready = ready

    def collect(self) -> Iterator["Metric"]:
        """Called by prometheus_client."""
        yield from self._gauges()
        yield from self._counters()
        yield from self._histograms()

    def _gauges(self) -> Iterator["Metric"]:
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

        yield InfoMetricFamily(PREFIX, "The worker that this sidecar serves.", value=dict(self._info))
        for name, text, value in (
            ("inflight", "Invocations that the framework works on.", self._meters.inflight),
            ("framework_healthy", "1 while the framework's health is good.", self._framework_healthy),
            ("ready", "1 while dispatches are taken.", self._ready),
        ):
            yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)

    def _counters(self) -> Iterator["Metric"]:
        from prometheus_client.core import CounterMetricFamily

        meters = self._meters
        ends = CounterMetricFamily(
            f"{PREFIX}_invocations", "Invocations that have their result.", labels=["outcome", "failure_class"]
        )
        for end, count in list(meters.outcomes.items()):
            ends.add_metric(end, count)
        yield ends
        dead = CounterMetricFamily(
            f"{PREFIX}_dead_letters", "Messages that could not be handled.", labels=["failure_class"]
        )
        for failure_class, count in list(meters.dead_letters.items()):
            dead.add_metric([failure_class], count)
        yield dead
        for name, text, value in (
            ("redeliveries", "Dispatches that were delivered before.", meters.redeliveries),
            ("answered_from_memory", "Redeliveries whose result was known.", meters.answered_from_memory),
            ("reconnects", "Times that the connection to NATS was restored.", meters.reconnects),
            ("metric_events_dropped", "Metric events that found no room.", meters.events_dropped),
            ("metric_events_failed", "Metric events that the stream did not take.", meters.events_failed),
        ):
            yield CounterMetricFamily(f"{PREFIX}_{name}", text, value=value)

    def _histograms(self) -> Iterator["Metric"]:
        from prometheus_client.core import HistogramMetricFamily

        for name, text, histogram in (
            ("queue_wait", "From the caller's request to the start of the call.", self._meters.queue_wait),
            ("handler", "From the call of the framework to its answer.", self._meters.handler),
            ("publish", "From the answer until the result was stored.", self._meters.publish),
        ):
            buckets, total_s = histogram.cumulative(), histogram.total_s
            yield HistogramMetricFamily(f"{PREFIX}_{name}_seconds", text, buckets=buckets, sum_value=total_s)
