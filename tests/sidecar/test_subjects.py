"""Subjects, tokens, names and message ids: the tables of contract 2.1, 2.2, 2.4 and 2.5."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.subjects import (
    DEFAULT_PREFIX,
    DEFAULT_STREAM,
    SubjectError,
    Subjects,
    dead_letter_message_id,
    dispatch_message_id,
    dispatch_token,
    is_reply_subject,
    metric_message_id,
    normalise_name,
    normalise_prefix,
    normalise_request_id,
    result_message_id,
    sidecar_consumer,
)

AT = datetime(2026, 3, 4, 5, 6, 7, 250_000, tzinfo=UTC)
AT_NANOSECONDS = 1772600767250000000


@pytest.mark.parametrize(
    ("prefix", "normalised"),
    [
        ("", DEFAULT_PREFIX),
        ("  ", DEFAULT_PREFIX),
        ("..", DEFAULT_PREFIX),
        (" .acme.jobs. ", "acme.jobs"),
        ("Acme", "Acme"),
        ("runtime.serverless", "runtime.serverless"),
    ],
)
def test_prefixes_are_normalised(prefix: str, normalised: str) -> None:
    assert normalise_prefix(prefix) == normalised


@pytest.mark.parametrize("prefix", ["a b", "a..b", "a.>", "a.*", "a\nb", "a\0"])
def test_prefixes_that_the_server_would_refuse_are_refused_here(prefix: str) -> None:
    with pytest.raises(SubjectError, match="prefix"):
        normalise_prefix(prefix)


@pytest.mark.parametrize(
    ("request_id", "normalised"), [("tts-small", "tts-small"), (" TTS_Small ", "tts_small"), ("0", "0"), ("-_", "-_")]
)
def test_request_ids_are_normalised(request_id: str, normalised: str) -> None:
    assert normalise_request_id(request_id) == normalised


@pytest.mark.parametrize("request_id", ["", "  ", "a.b", "a b", "a/b", "é", "a\nb", "*"])
def test_request_ids_are_never_repaired(request_id: str) -> None:
    with pytest.raises(SubjectError, match="request ID"):
        normalise_request_id(request_id)


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("Unit.A", "unit-a"),
        ("  ", "unknown"),
        ("", "unknown"),
        ("a/b//c", "a-b-c"),
        ("a..b", "a--b"),
        ("***", "-"),
        ("ok_1-2", "ok_1-2"),
        ("-edge-", "-edge-"),
        ("a.b", "a-b"),
        ("a\n", "a"),
        ("é!", "-"),
    ],
)
def test_dispatch_tokens(value: str, token: str) -> None:
    assert dispatch_token(value) == token


@given(st.text())
def test_a_dispatch_token_is_always_one_valid_token_and_final(value: str) -> None:
    token = dispatch_token(value)
    assert token
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert dispatch_token(token) == token


@pytest.mark.parametrize(("name", "normalised"), [("", DEFAULT_STREAM), (" S1 ", "S1"), ("a_b-c", "a_b-c")])
def test_stream_names_are_normalised(name: str, normalised: str) -> None:
    assert normalise_name(name, DEFAULT_STREAM, "stream name") == normalised


@pytest.mark.parametrize("name", ["a b", "a.b", "a*", "a>", "a/b", "a\\b", "a\tb"])
def test_names_with_forbidden_characters_are_refused(name: str) -> None:
    with pytest.raises(SubjectError, match="stream name"):
        normalise_name(name, DEFAULT_STREAM, "stream name")


@pytest.mark.parametrize(
    ("worker", "durable"),
    [("tts-small-base", "serverless-sidecar-tts-small-base"), ("unit.a", "serverless-sidecar-unit-a")],
)
def test_sidecar_consumers_are_named_after_the_worker(worker: str, durable: str) -> None:
    assert sidecar_consumer(worker) == durable


def test_the_subject_families() -> None:
    subjects = Subjects()
    assert subjects.invoke("tts-small") == "runtime.serverless.invoke.tts-small"
    assert subjects.dispatch("tts-small", "Unit.A") == "runtime.serverless.dispatch.tts-small.unit-a"
    assert subjects.dispatch("", "w") == "runtime.serverless.dispatch.unknown.w"
    assert subjects.result("tts-small") == "runtime.serverless.result.tts-small"
    assert subjects.metrics("tts-small") == "runtime.serverless.metrics.tts-small"
    assert subjects.dead_letter("dispatch", "") == "runtime.serverless.dlq.dispatch.unknown"
    assert subjects.cancel("TTS", "Unit.A") == "runtime.serverless.cancel.tts.unit-a"
    assert subjects.cancel_queued("TTS") == "runtime.serverless.cancel.tts"
    assert Subjects("acme").families() == [
        "acme.invoke.*",
        "acme.dispatch.*.*",
        "acme.result.*",
        "acme.metrics.*",
        "acme.dlq.*.*",
    ]


def test_the_message_ids() -> None:
    assert dispatch_message_id("inv-1", "Unit.A") == "dispatch-inv-1-unit-a"
    assert result_message_id("inv-1") == "result-inv-1"
    assert metric_message_id("w", "invocation_started", AT, "inv-1") == "metric-inv-1-invocation_started"
    assert metric_message_id("Unit.A", "heartbeat", AT) == f"metric-unit-a-heartbeat-{AT_NANOSECONDS}"
    assert dead_letter_message_id("dispatch", "Inv.1", 42, AT) == "dlq-dispatch-inv-1-42"
    assert dead_letter_message_id("dispatch", "", 42, AT) == f"dlq-dispatch-42-{AT_NANOSECONDS}"


def test_what_happens_again_has_an_id_of_its_own() -> None:
    """S12, S13: else the server would drop the second dispatch, or the second run's events, as duplicates."""
    assert dispatch_message_id("inv-1", "Unit.A", 1) == "dispatch-inv-1-unit-a"
    assert dispatch_message_id("inv-1", "Unit.A", 2) == "dispatch-inv-1-unit-a-2"
    assert metric_message_id("w", "invocation_started", AT, "inv-1", 2) == "metric-inv-1-invocation_started-2"


@pytest.mark.parametrize(
    ("subject", "usable"),
    [
        ("_INBOX.Qf3xY0", True),
        ("my.inbox.1", True),
        ("runtime.serverlessx.1", True),
        ("runtime.serverless.invoke.pool", False),
        ("$JS.API.STREAM.DELETE.RUNTIME_SERVERLESS", False),
        ("", False),
        ("a..b", False),
        ("a.*", False),
        ("a.>", False),
        ("a b", False),
        ("a\r\nPUB x 0\r\n", False),
    ],
)
def test_replies_go_to_callers_only(subject: str, usable: bool) -> None:
    assert is_reply_subject(subject, DEFAULT_PREFIX) is usable
