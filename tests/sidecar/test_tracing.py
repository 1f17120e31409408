"""W3C trace context from a dispatch to the framework (S30)."""

from collections.abc import Mapping

import pytest

from sidecar.tracing import MAX_TRACESTATE_CHARACTERS, NO_HEADERS, trace_headers

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
OTHER = f"00-{TRACE}-00f067aa0ba902b7-00"


@pytest.mark.parametrize(
    ("message_headers", "nats_headers", "expected"),
    [
        ({}, None, {}),
        ({}, {}, {}),
        ({"a": "b"}, {"Nats-Msg-Id": "i"}, {}),
        ({"traceparent": PARENT}, None, {"traceparent": PARENT}),
        ({"TraceParent": PARENT, "TRACESTATE": "a=1"}, None, {"traceparent": PARENT, "tracestate": "a=1"}),
        ({}, {"Traceparent": f" {PARENT} "}, {"traceparent": PARENT}),
        ({"traceparent": PARENT}, {"traceparent": OTHER}, {"traceparent": OTHER}),
        ({"traceparent": PARENT, "tracestate": "a=1"}, {"traceparent": OTHER}, {"traceparent": OTHER}),
        ({"traceparent": PARENT}, {"traceparent": "junk", "tracestate": "a=1"}, {"traceparent": PARENT}),
        ({"tracestate": "a=1"}, None, {}),
    ],
)
def test_the_queue_message_wins_over_the_invocation(
    message_headers: Mapping[str, str], nats_headers: Mapping[str, str] | None, expected: Mapping[str, str]
) -> None:
    assert trace_headers(message_headers, nats_headers) == expected


@pytest.mark.parametrize(
    "parent",
    [
        "",
        PARENT.upper(),
        PARENT[:-1],
        PARENT + "-00",
        PARENT + "\r\nx: y",
        PARENT.replace("00-", "ff-", 1),
        PARENT.replace("00-", "0-", 1),
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-b7ad6b716920333x-01",
        f"00_{TRACE}_b7ad6b7169203331_01",
    ],
)
def test_an_invalid_traceparent_is_dropped(parent: str) -> None:
    assert trace_headers({"traceparent": parent, "tracestate": "a=1"}, {"traceparent": parent}) == {}


@pytest.mark.parametrize("state", ["", "a=1\r\nx: y", "ä=1", "x" * (MAX_TRACESTATE_CHARACTERS + 1), "a\x00"])
def test_an_invalid_tracestate_is_dropped_alone(state: str) -> None:
    assert trace_headers({}, {"traceparent": PARENT, "tracestate": state}) == {"traceparent": PARENT}


def test_a_tracestate_of_the_full_length_passes() -> None:
    state = "x" * MAX_TRACESTATE_CHARACTERS
    assert trace_headers({"traceparent": PARENT, "tracestate": state}, None)["tracestate"] == state


def test_without_trace_context_nothing_is_made() -> None:
    assert trace_headers({}, {"Nats-Msg-Id": "i"}) is NO_HEADERS
