"""Whether a measured run did its work: pure functions over what the stream and the consumer hold afterwards."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from tests.bench.lean_jetstream import ConsumerState

EXPECTED_EVENTS: Final = ("invocation_started", "invocation_finished")
_SHOWN: Final = 3


class Entry(msgspec.Struct):
    """What is read of a result or of a metric event."""

    invocation_id: str = msgspec.field(name="invocationID", default="")
    event_type: str = msgspec.field(name="eventType", default="")
    state: str = ""


def outcomes(records: Iterable[tuple[str, bytes]]) -> Counter[tuple[str, str]]:
    """Count what the stream says of each invocation: pairs of a result's state or an event's type, and the ID."""
    counts: Counter[tuple[str, str]] = Counter()
    decoder = msgspec.json.Decoder(Entry)
    for subject, body in records:
        family = subject.split(".")[2]
        if family == "dlq":
            counts["dead letter", ""] += 1
        elif family in ("result", "metrics"):
            entry = decoder.decode(body)
            kind = f"result {entry.state}" if family == "result" else entry.event_type
            if entry.invocation_id:
                counts[kind, entry.invocation_id] += 1
    return counts


def problems(invocations: Iterable[str], counts: Mapping[tuple[str, str], int], consumer: ConsumerState) -> list[str]:
    """What is wrong with a run; empty when each invocation was delivered, answered and reported exactly once."""
    expected = Counter({(kind, one): 1 for one in invocations for kind in ("result succeeded", *EXPECTED_EVENTS)})
    dispatched = len(expected) // (1 + len(EXPECTED_EVENTS))
    found = []
    for what, excess in (("missing", expected - Counter(counts)), ("too much", Counter(counts) - expected)):
        if excess:
            shown = ", ".join(f"{kind} {one}".strip() for kind, one in sorted(excess)[:_SHOWN])
            found.append(f"{excess.total()} {what}: {shown}{' ...' if len(excess) > _SHOWN else ''}")
    if consumer.num_pending or consumer.num_ack_pending:
        found.append(f"{consumer.num_pending} dispatches not delivered, {consumer.num_ack_pending} not acknowledged")
    if consumer.num_redelivered or consumer.deliveries != dispatched:
        found.append(f"{consumer.deliveries} deliveries of {dispatched} dispatches")
    return found
