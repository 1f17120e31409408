"""Logs: JSON lines, bound names, no credential and no payload in them."""

import io
import logging
import sys

import msgspec
import pytest
import structlog

from sidecar.logs import REDACTED, log_json_to_stderr, redact
from sidecar.messages import WorkerDispatchMessage

SEED = "SUAM" + "A2B3C4D5" * 6 + "ZYXWVU"
JWT = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJqdGkiOiJBQUEifQ.c2lnbmF0dXJl_-0"
Line = dict[str, object]


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> "Logs":
    logs = Logs()
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(sys, "stderr", logs.stderr)
    log_json_to_stderr(worker="w1", pool="tts")
    return logs


class Logs:
    """What was written to stderr."""

    def __init__(self) -> None:
        self.stderr = io.StringIO()

    @property
    def text(self) -> str:
        return self.stderr.getvalue()

    def lines(self) -> list[Line]:
        return [msgspec.json.decode(line) for line in self.text.splitlines()]

    def line(self) -> Line:
        (line,) = self.lines()
        return line


def test_a_line_is_json_with_worker_and_pool(logs: Logs) -> None:
    structlog.get_logger().info("redelivered", invocationID="inv-1", attempt=2)
    line = logs.line()
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {
        "event": "redelivered",
        "level": "info",
        "worker": "w1",
        "pool": "tts",
        "invocationID": "inv-1",
        "attempt": 2,
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nats://h:4222", "nats://h:4222"),
        ("nats://user:pw@h:4222 is down", f"nats://{REDACTED}@h:4222 is down"),
        ("tls://token@h", f"tls://{REDACTED}@h"),
        ("wss://u:p@ss@h/x", f"wss://{REDACTED}@h/x"),
        ("nats://u:p/w@h", f"nats://{REDACTED}@h"),
        ("'nats://u:\"pw\"@h'", f"'nats://{REDACTED}@h'"),
        (f"seed {SEED}.", f"seed {REDACTED}."),
        (f"-----BEGIN NATS USER JWT-----\n{JWT}\n------END", f"-----BEGIN NATS USER JWT-----\n{REDACTED}\n------END"),
        (f"n{JWT}", f"n{REDACTED}"),
        ("write to me@example.org", "write to me@example.org"),
        ("eyJ alone, SU alone", "eyJ alone, SU alone"),
    ],
)
def test_credentials_in_a_text_are_redacted(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize("secret", ["nats://user:hunter2@h:1", SEED, JWT])
def test_credentials_are_redacted_wherever_they_are(logs: Logs, secret: str) -> None:
    log = structlog.get_logger()
    log.info(f"at {secret}")
    log.info("x", error=ValueError(secret), nested={"a": [{secret: secret}], "b": (secret,)})
    try:
        raise ConnectionError(secret) from ValueError(secret)
    except ConnectionError:
        log.exception("failed")
    logging.getLogger("nats").error("cannot reach %s", secret, exc_info=ValueError(secret))
    assert len(logs.lines()) == 4
    assert logs.text.count(REDACTED) >= 9
    for part in ("hunter2", SEED, JWT):
        assert part not in logs.text


def test_payloads_are_named_not_shown(logs: Logs) -> None:
    message = WorkerDispatchMessage(
        invocation_id="i",
        serverless_request_id="p",
        worker_name="w",
        worker_namespace="n",
        payload=msgspec.Raw(b'"private"'),
    )
    structlog.get_logger().warning("odd", data=b"private", message=message, payload=message.payload)
    line = logs.line()
    assert (line["data"], line["message"], line["payload"]) == ("<bytes>", "<WorkerDispatchMessage>", "<Raw>")
    assert "private" not in logs.text


def test_a_traceback_has_no_local_variables(logs: Logs) -> None:
    def fail(payload: str) -> None:
        raise RuntimeError("broken")

    try:
        fail("private".upper())
    except RuntimeError:
        structlog.get_logger().exception("failed", invocationID="inv-1")
    line = logs.line()
    assert "RuntimeError: broken" in str(line["exception"])
    assert line["invocationID"] == "inv-1"
    assert "PRIVATE" not in logs.text


def test_other_packages_log_in_the_same_form_from_warnings_on(logs: Logs) -> None:
    logging.getLogger("nats.aio").warning("100%% of %s", "it")
    logging.getLogger("nats.aio").info("chatter")
    line = logs.line()
    assert (line["event"], line["level"], line["logger"], line["worker"]) == (
        "100% of it",
        "warning",
        "nats.aio",
        "w1",
    )
