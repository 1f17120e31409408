"""S30: what a sidecar counted, as Prometheus reads it."""

import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.metrics import BUCKETS_S, Histogram, Meters, exposition

INFO = {"worker": 'w"1\n', "namespace": "ns", "pool": "tts"}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(meters: Meters, *, framework_healthy: bool = False, ready: bool = False) -> Samples:
    content_type, body = exposition(meters, INFO, framework_healthy=framework_healthy, ready=ready)
    assert content_type.startswith("text/plain; version=")
    return {
        (sample.name.removeprefix("serverless_sidecar_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_a_fresh_sidecar_has_its_series() -> None:
    samples = scraped(Meters())
    assert samples["info", tuple(sorted(INFO.items()))] == 1
    for name in (
        "inflight",
        "framework_healthy",
        "ready",
        "redeliveries_total",
        "answered_from_memory_total",
        "reconnects_total",
        "metric_events_dropped_total",
        "metric_events_failed_total",
        "queue_wait_seconds_count",
        "handler_seconds_count",
        "publish_seconds_count",
    ):
        assert samples[name, ()] == 0, name


def test_everything_counted_is_exposed() -> None:
    meters = Meters()
    meters.inflight = 3
    meters.redeliveries += 2
    meters.answered_from_memory += 1
    meters.reconnects += 4
    meters.events_dropped += 5
    meters.events_failed += 6
    for failure_class in ("malformed_message", "malformed_message", "retry_exhausted"):
        meters.dead_lettered(failure_class)
    for state, failure_class in (("succeeded", ""), ("succeeded", ""), ("failed", "handler_error")):
        meters.ended(state, failure_class)
    samples = scraped(meters, framework_healthy=True, ready=True)
    expected = {
        ("inflight", ()): 3,
        ("framework_healthy", ()): 1,
        ("ready", ()): 1,
        ("redeliveries_total", ()): 2,
        ("answered_from_memory_total", ()): 1,
        ("reconnects_total", ()): 4,
        ("metric_events_dropped_total", ()): 5,
        ("metric_events_failed_total", ()): 6,
        ("dead_letters_total", (("failure_class", "malformed_message"),)): 2,
        ("dead_letters_total", (("failure_class", "retry_exhausted"),)): 1,
        ("invocations_total", (("failure_class", ""), ("outcome", "succeeded"))): 2,
        ("invocations_total", (("failure_class", "handler_error"), ("outcome", "failed"))): 1,
    }
    assert {key: samples[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("seconds", "first_bucket"),
    [(0, "0.001"), (0.001, "0.001"), (0.0011, "0.0025"), (0.7, "1.0"), (600, "600.0"), (601, "+Inf")],
)
def test_a_duration_is_in_its_bucket_and_all_above(seconds: float, first_bucket: str) -> None:
    histogram = Histogram()
    histogram.observe(seconds)
    counts = dict(histogram.cumulative())
    bounds = list(counts)
    assert len(bounds) == len(BUCKETS_S) + 1
    first = bounds.index(first_bucket)
    assert list(counts.values()) == [0] * first + [1] * (len(bounds) - first)


@pytest.mark.parametrize("name", ["queue_wait", "handler", "publish"])
def test_each_histogram_is_exposed(name: str) -> None:
    meters = Meters()
    for seconds in (0.5, 2.0):
        getattr(meters, name).observe(seconds)
    samples = scraped(meters)
    assert samples[f"{name}_seconds_sum", ()] == 2.5
    assert samples[f"{name}_seconds_count", ()] == 2
    assert samples[f"{name}_seconds_bucket", (("le", "0.5"),)] == 1
    assert samples[f"{name}_seconds_bucket", (("le", "+Inf"),)] == 2


def test_only_the_sidecar_is_exposed_and_names_keep_the_rules() -> None:
    """Base units, `_total` for counters, nothing of process and platform."""
    meters = Meters()
    meters.ended("succeeded", "")
    _, body = exposition(meters, INFO, framework_healthy=True, ready=True)
    for family in text_string_to_metric_families(body.decode()):
        assert family.name.startswith("serverless_sidecar_")
        assert family.documentation
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_prometheus_is_imported_by_the_first_scrape_only() -> None:
    code = "import sys, sidecar.metrics as m; m.Meters(); sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
