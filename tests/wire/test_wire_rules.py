"""The rule tables of the kit say what the platform's own functions do."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from fixtures import wire
from framework.contract import DEFAULT_INVOKE_PATH, clean_http_path, clean_socket_path
from sidecar.durations import parse_duration
from sidecar.subjects import (
    DEFAULT_PREFIX,
    DEFAULT_STREAM,
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

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def subject(given: dict[str, str]) -> str:
    subjects = Subjects(given.get("prefix", DEFAULT_PREFIX))
    pool = given["requestID"]
    match given["family"]:
        case "dispatch":
            return subjects.dispatch(pool, given["workerName"])
        case "cancel" if "workerName" not in given:
            return subjects.cancel_queued(pool)
        case "cancel":
            return subjects.cancel(pool, given["workerName"])
        case "dlq":
            return subjects.dead_letter(given["source"], pool)
        case family:
            build: Callable[[str], str] = getattr(subjects, family)
            return build(pool)


def message_id(given: dict[str, Any]) -> str:
    invocation, worker = given.get("invocationID", ""), given.get("workerName", "")
    at = datetime.fromisoformat(given["at"]) if "at" in given else EPOCH
    match given["message"]:
        case "dispatch":
            return dispatch_message_id(invocation, worker, given.get("dispatch", 1))
        case "result":
            return result_message_id(invocation)
        case "metric":
            numbers = given.get("attempt", 1), given.get("dispatch", 1)
            return metric_message_id(worker, given["eventType"], at, invocation, *numbers)
        case "dlq":
            return dead_letter_message_id(given["source"], invocation, given["streamSequence"], at)
        case _:
            assert isinstance(invocation, str)
            return invocation


RULES: dict[str, Callable[[Any], object]] = {
    "subject-prefix": normalise_prefix,
    "request-id": normalise_request_id,
    "dispatch-token": dispatch_token,
    "stream-name": lambda name: normalise_name(name, DEFAULT_STREAM, "stream name"),
    "worker-consumer": sidecar_consumer,
    "subjects": subject,
    "message-ids": message_id,
    "reply-subject": lambda given: is_reply_subject(given, DEFAULT_PREFIX),
    "duration": parse_duration,
    "invoke-path": lambda path: clean_http_path(path, DEFAULT_INVOKE_PATH),
    "socket-path": clean_socket_path,
}
LINES = [(name, line) for name in RULES for line in wire.rules(name)]


@pytest.mark.parametrize(("name", "line"), LINES, ids=lambda value: str(value)[:60])
def test_a_rule_gives_what_its_table_says(name: str, line: wire.Rule) -> None:
    """S12, S13, S25 and Q9 are among the rules."""
    if line.is_error:
        with pytest.raises(ValueError, match=r"."):
            RULES[name](line.input)
    else:
        assert RULES[name](line.input) == line.output


def test_each_table_has_a_rule_and_each_rule_a_table() -> None:
    assert wire.rule_names() == sorted(RULES)
    assert len(LINES) > 150
    assert all(line.is_error == (line.output is None) for _, line in LINES)


def test_every_family_of_subjects_and_of_message_ids_is_in_its_table() -> None:
    families = {line.input["family"] for line in wire.rules("subjects")}
    assert families == {"invoke", "dispatch", "cancel", "result", "metrics", "dlq"}
    messages = {line.input["message"] for line in wire.rules("message-ids")}
    assert messages == {"invocation", "dispatch", "result", "metric", "dlq"}
