"""What was measured, as figures with their ratios and goals: for machines as JSON, for people as tables."""

import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self, TypeVar

import msgspec

from tests.bench.floors import Floors
from tests.bench.workload import Backlog, Paced

MICROSECONDS: Final = 1e6
MOST_IN_FLIGHT: Final = 64

_Measured = TypeVar("_Measured")


class Round(msgspec.Struct):
    """All measurements of one round."""

    floors: Floors
    backlogs: list[Backlog] = []
    paced: list[Paced] = []


class Throughput(msgspec.Struct, kw_only=True):
    """A backlog worked off by one kind of sidecar. CPU is microseconds per invocation; ratios are to this run's own."""

    kind: str
    in_flight: int
    invocations: int
    per_second: float
    sidecar_us: float
    nats_us: float
    framework_us: float
    sidecar_to_floor: float
    nats_to_floor: float


class Latency(msgspec.Struct, kw_only=True):
    """One invocation at a time: publish of the dispatch to arrival of the reply; `floor` is the lean relay."""

    kind: str
    invocations: int
    p50_us: float
    p99_us: float
    p50_to_floor: float
    p50_to_request: float


class FloorFigures(msgspec.Struct, kw_only=True):
    """CPU microseconds per operation, and median round trips in microseconds."""

    publish_us: float
    publish_nats_us: float
    pull_ack_us: float
    pull_ack_nats_us: float
    post_us: float
    post_framework_us: float
    sidecar_us: float
    nats_us: float
    post_p50_us: float
    request_p50_us: float

    @classmethod
    def of(cls, rounds: Sequence[Floors]) -> Self:
        """The medians of all rounds."""

        def median(figure: Callable[[Floors], float]) -> float:
            return statistics.median(map(figure, rounds))

        return cls(
            publish_us=median(lambda floors: floors.publish.client_us),
            publish_nats_us=median(lambda floors: floors.publish.server_us),
            pull_ack_us=median(lambda floors: floors.pull_ack.client_us),
            pull_ack_nats_us=median(lambda floors: floors.pull_ack.server_us),
            post_us=median(lambda floors: floors.post.client_us),
            post_framework_us=median(lambda floors: floors.post.server_us),
            sidecar_us=median(lambda floors: floors.sidecar_us),
            nats_us=median(lambda floors: floors.nats_us),
            post_p50_us=median(lambda floors: percentile_us(floors.post_s, 50)),
            request_p50_us=median(lambda floors: percentile_us(floors.request_s, 50)),
        )


class Goal(msgspec.Struct):
    """A figure and what it should be."""

    what: str
    figure: float
    limit: float
    at_least: bool
    met: bool


class Report(msgspec.Struct, kw_only=True):
    """A whole run that did its work; of one that did not there is no report.

    `others` is the share of the machine's CPUs that went to other programs meanwhile: much of it spoils the figures.
    `receive_to_reply_us` and `relay_post_us` are p50s at one at a time; see the functions of these names.
    """

    machine: str
    others: float
    rounds: int
    floors: FloorFigures
    backlog: list[Throughput]
    paced: list[Latency]
    receive_to_reply_us: float
    relay_post_us: float
    goals: list[Goal]
    correct: bool = True
    problems: list[str] = []


def percentile_us(seconds: Iterable[float], percent: int) -> float:
    """The nearest-rank percentile, in microseconds; not a number when there is none."""
    ordered = sorted(seconds)
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)] * MICROSECONDS if ordered else float("nan")


def report_of(rounds: list[Round], others: float) -> Report:
    """Sum up: each figure is the median of its rounds."""
    floors = FloorFigures.of([measured.floors for measured in rounds])
    backlog = [
        throughput(group, floors)
        for group in grouped((b for r in rounds for b in r.backlogs), lambda b: (b.kind, b.in_flight))
    ]
    paced_groups = grouped((p for r in rounds for p in r.paced), lambda p: p.kind)
    relay_us = statistics.median([percentile_us(p.seconds, 50) for g in paced_groups for p in g if p.kind == "floor"])
    paced = [latency(group, relay_us, floors.request_p50_us) for group in paced_groups]
    inside_us, post_us = (statistics.median(map(f, rounds)) for f in (receive_to_reply_us, relay_post_us))
    return Report(
        machine=f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {platform.system()} {platform.release()}",
        others=others,
        rounds=len(rounds),
        floors=floors,
        backlog=backlog,
        paced=paced,
        receive_to_reply_us=inside_us,
        relay_post_us=post_us,
        goals=goals(backlog, inside_us / post_us),
    )


def receive_to_reply_us(measured: Round) -> float:
    """Our sidecar's time from a dispatch's arrival to its reply, as far as it can be seen from outside (p50).

    Our round trip without that of the lean relay, which has the same way through the queue, and with the relay's POST,
    which is all that it does between receive and reply.
    """
    p50_us = {paced.kind: percentile_us(paced.seconds, 50) for paced in measured.paced}
    return p50_us["ours"] - p50_us["floor"] + relay_post_us(measured)


def relay_post_us(measured: Round) -> float:
    """What a lean UDS POST takes on an invocation's way (p50), where the framework must wake up for it."""
    return percentile_us([seconds for paced in measured.paced for seconds in paced.post_s], 50)


def throughput(group: list[Backlog], floors: FloorFigures) -> Throughput:
    """Sum up the rounds of one kind at one concurrency."""
    sidecar_us = statistics.median(b.sidecar_us for b in group)
    nats_us = statistics.median(b.nats_us for b in group)
    return Throughput(
        kind=group[0].kind,
        in_flight=group[0].in_flight,
        invocations=sum(b.invocations for b in group),
        per_second=statistics.median(b.per_second for b in group),
        sidecar_us=sidecar_us,
        nats_us=nats_us,
        framework_us=statistics.median(b.framework_us for b in group),
        sidecar_to_floor=sidecar_us / floors.sidecar_us,
        nats_to_floor=nats_us / floors.nats_us,
    )


def latency(group: list[Paced], relay_us: float, request_us: float) -> Latency:
    """Sum up the rounds of one kind."""
    p50_us = statistics.median(percentile_us(p.seconds, 50) for p in group)
    return Latency(
        kind=group[0].kind,
        invocations=sum(len(p.seconds) for p in group),
        p50_us=p50_us,
        p99_us=statistics.median(percentile_us(p.seconds, 99) for p in group),
        p50_to_floor=p50_us / relay_us,
        p50_to_request=p50_us / request_us,
    )


def goals(backlog: list[Throughput], reply_to_post: float) -> list[Goal]:
    """The first goals of the speed work, beside what was measured."""
    at_most = {row.kind: row for row in backlog if row.in_flight == MOST_IN_FLIGHT}
    ours, plain = at_most["ours"], at_most["plain"]
    faster = ours.per_second / plain.per_second
    cpu_us = ours.sidecar_us
    return [
        Goal("64 in flight: invocations per second, times plain", faster, 6, at_least=True, met=faster >= 6),
        Goal("64 in flight: CPU of the sidecar, µs", cpu_us, 200, at_least=False, met=cpu_us <= 200),
        Goal(
            "one at a time: receive to reply p50 (estimate), times a lean UDS POST",
            reply_to_post,
            2,
            at_least=False,
            met=reply_to_post <= 2,
        ),
    ]


def grouped(measured: Iterable[_Measured], key: Callable[[_Measured], object]) -> list[list[_Measured]]:
    """Measurements with the same key, in the order of their first."""
    groups: dict[object, list[_Measured]] = {}
    for one in measured:
        groups.setdefault(key(one), []).append(one)
    return list(groups.values())
