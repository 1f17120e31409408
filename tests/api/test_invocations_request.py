"""The rules of the invocation body (contract 4.3)."""

from typing import TYPE_CHECKING

import msgspec
import pytest

from sidecar.messages import InvocationMessage
from simulator.api.invocations_request import parse_invocation
from simulator.api.request_body import InvalidRequestError
from simulator.kube.kinds import Object

if TYPE_CHECKING:
    from tests.api.conftest import Api, StubCluster, StubQueue

WRONG: list[tuple[Object, str]] = [
    ({"serverlessRequestID": None}, "serverlessRequestID"),
    ({"serverlessRequestID": " "}, "serverlessRequestID"),
    ({"serverlessRequestID": "a.b"}, "serverlessRequestID"),
    ({"serverlessRequestID": "a\n\nb"}, "serverlessRequestID"),
    ({"serverlessRequestID": 1}, "serverlessRequestID"),
    ({"invocationID": 1}, "invocationID"),
    ({"mode": "later"}, "mode"),
    ({"mode": "SYNC"}, "mode"),
    ({"mode": True}, "mode"),
    ({"contentType": []}, "contentType"),
    ({"headers": []}, "headers"),
    ({"headers": {"a": 1}}, "headers[...]"),
    ({"headers": {"a": None}}, "headers[...]"),
    ({"headers": {" ": "x"}}, "headers"),
    ({"attributes": "a"}, "attributes"),
    ({"attributes": {"a": ["b"]}}, "attributes[...]"),
    ({"attributes": {"": "x"}}, "attributes"),
    ({"timeoutSeconds": -1}, "timeoutSeconds"),
    ({"timeoutSeconds": 2**31}, "timeoutSeconds"),
    ({"timeoutSeconds": 1.5}, "timeoutSeconds"),
    ({"timeoutSeconds": "30"}, "timeoutSeconds"),
]
P3_WRONG_IDS = ["a b", "a.b", "ä", "a/b", "a*", "a" * 65, "result-1", "dispatch-1", "metric-1", "dlq-1"]


def parsed(**changes: object) -> InvocationMessage:
    return parse_invocation(msgspec.json.encode({"serverlessRequestID": "tts", **changes}), "inv-default")


@pytest.mark.parametrize(("changes", "field"), WRONG)
def test_a_wrong_field_is_named(changes: Object, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parsed(**changes)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize("invocation_id", P3_WRONG_IDS)
def test_p3_an_invocation_id_that_could_meet_another_message_id_is_rejected(invocation_id: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parsed(invocationID=invocation_id)
    assert caught.value.field == "invocationID"


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize(("changes", "field"), [*WRONG, *(({"invocationID": i}, "invocationID") for i in P3_WRONG_IDS)])
async def test_a_wrong_field_is_answered_400_and_publishes_nothing(
    api: "Api", cluster: "StubCluster", queue: "StubQueue", changes: Object, field: str, mode: str
) -> None:
    answer = await api.invoke(**{"mode": mode, **changes})
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.message.startswith(f"{field}: ")
    assert queue.publications == []


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"serverlessRequestID": " TTS "}, "serverless_request_id", "tts"),
        ({}, "invocation_id", "inv-default"),
        ({"invocationID": " "}, "invocation_id", "inv-default"),
        ({"invocationID": " A_b-1 "}, "invocation_id", "A_b-1"),
        ({"invocationID": "a" * 64}, "invocation_id", "a" * 64),
        ({"invocationID": "results-1"}, "invocation_id", "results-1"),
        ({}, "state", "queued"),
        ({}, "mode", "async"),
        ({"mode": ""}, "mode", "async"),
        ({"mode": "sync"}, "mode", "sync"),
        ({}, "content_type", "application/json"),
        ({"contentType": " text/plain "}, "content_type", "text/plain"),
        ({"headers": {" a ": " b "}}, "headers", {"a": "b"}),
        ({"attributes": {" a": ""}}, "attributes", {"a": ""}),
        ({"headers": None}, "headers", {}),
        ({}, "timeout_seconds", 0),
        ({"timeoutSeconds": 7}, "timeout_seconds", 7),
        ({"mode": "sync"}, "timeout_seconds", 30),
        ({"mode": "sync", "timeoutSeconds": 0}, "timeout_seconds", 30),
        ({"mode": "sync", "timeoutSeconds": 2**31 - 1}, "timeout_seconds", 2**31 - 1),
    ],
)
def test_a_field_is_normalised(changes: Object, field: str, value: object) -> None:
    assert getattr(parsed(**changes), field) == value


@pytest.mark.parametrize(
    "payload",
    [b"null", b"1e400", b'{"b":1,"a":2,"a":3}', b'"<&>"', b"[ 1 ,2 ]", b"12345678901234567890.10", b'"\xc3\xa4"'],
)
def test_the_payload_keeps_its_bytes(payload: bytes) -> None:
    message = parse_invocation(b'{"serverlessRequestID":"tts","payload":' + payload + b"}", "inv-1")
    assert bytes(message.payload) == payload


def test_an_absent_payload_stays_absent() -> None:
    assert b"payload" not in msgspec.json.encode(parsed())
