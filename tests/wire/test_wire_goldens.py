"""Golden messages, schemas and types agree: each message means what its file says, in both directions."""

import json
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import jsonschema
import msgspec
import pytest

from fixtures import wire
from fixtures.wire.message_schemas import MESSAGES, STATES, always_written, is_raw, is_time, values_of
from framework.contract import ZERO_TIME
from sidecar.messages import Event, FailureClass, Source, decode, encode
from sidecar.outcome import read_envelope
from sidecar.subjects import (
    Subjects,
    dead_letter_message_id,
    dispatch_message_id,
    metric_message_id,
    result_message_id,
)

GOLDENS = [case for message_type in wire.MESSAGE_TYPES for case in wire.golden(message_type)]
SUBJECTS = Subjects()
each_golden = pytest.mark.parametrize("case", GOLDENS, ids=lambda case: f"{case.message_type}-{case.name}")


def meaning(message: msgspec.Struct) -> dict[str, Any]:
    """Every field of a message, in the form of the golden files."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(message):
        value = getattr(message, field.name)
        if is_raw(field):
            value = bytes(value).decode() or None
        elif is_time(field):
            value = None if value == ZERO_TIME else f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
        found[field.encode_name] = value
    return found


def address(kind: str, fields: dict[str, Any]) -> tuple[str, str]:
    """Subject and message id of a message, from its fields; both empty for what goes over HTTP."""
    invocation, pool, worker = (fields.get(name, "") for name in ("invocationID", "serverlessRequestID", "workerName"))
    at = datetime.fromisoformat(fields.get("reportedAt") or fields.get("failedAt") or "0001-01-01T00:00:00Z")
    match kind:
        case "InvocationMessage":
            return SUBJECTS.invoke(pool), invocation
        case "WorkerDispatchMessage":
            return SUBJECTS.dispatch(pool, worker), dispatch_message_id(invocation, worker)
        case "InvocationResultMessage":
            return SUBJECTS.result(pool), result_message_id(invocation)
        case "WorkerMetricMessage":
            return SUBJECTS.metrics(pool), metric_message_id(worker, fields["eventType"], at, invocation)
        case "DeadLetterMessage":
            source, sequence = fields["source"], fields["streamSequence"]
            return SUBJECTS.dead_letter(source, pool), dead_letter_message_id(source, invocation, sequence, at)
        case _:
            return "", ""


def decoded(case: wire.Golden) -> msgspec.Struct:
    """The message, as its own reader decodes it."""
    if case.message_type == "InvocationResponse":
        return read_envelope(200, case.data)
    return decode(case.data, MESSAGES[case.message_type])


@each_golden
def test_a_golden_message_means_what_its_file_says(case: wire.Golden) -> None:
    """S29: payload and body arrive byte for byte."""
    assert meaning(decoded(case)) == case.meaning


@each_golden
def test_what_we_write_for_it_means_the_same_and_is_fit_to_be_written(case: wire.Golden) -> None:
    written = encode(decoded(case))
    assert meaning(decode(written, MESSAGES[case.message_type])) == case.meaning
    if "produce" in case.schemas:
        validate(json.loads(written), case.message_type, "produce")


@each_golden
def test_payload_and_body_are_written_byte_for_byte(case: wire.Golden) -> None:
    """S29: what no JSON library keeps (1e400, duplicate keys, white space) passes untouched."""
    written = encode(decoded(case))
    for name in ("payload", "body"):
        raw = case.meaning.get(name)
        if raw is not None:
            assert f'"{name}":{raw}'.encode() in written


@each_golden
def test_it_goes_to_the_subject_and_under_the_id_that_its_file_says(case: wire.Golden) -> None:
    assert (case.subject, case.message_id) == address(case.message_type, case.meaning)


def validate(instance: object, message_type: str, variant: Any) -> None:
    jsonschema.Draft202012Validator(wire.schema(message_type, variant)).validate(instance)


@each_golden
def test_it_validates_against_the_schemas_that_its_file_says_and_no_others(case: wire.Golden) -> None:
    instance = json.loads(case.data)
    validate(instance, case.message_type, "consume")
    if "produce" in case.schemas:
        validate(instance, case.message_type, "produce")
    else:
        with pytest.raises(jsonschema.ValidationError):
            validate(instance, case.message_type, "produce")


@pytest.mark.parametrize("message_type", wire.MESSAGE_TYPES)
def test_each_type_has_a_message_with_every_field_and_one_with_the_required_ones(message_type: str) -> None:
    fields = msgspec.structs.fields(MESSAGES[message_type])
    written = [set(json.loads(case.data)) for case in wire.golden(message_type) if "produce" in case.schemas]
    assert {field.encode_name for field in fields} in written
    assert {field.encode_name for field in fields if always_written(field)} in written


def values_in_goldens(message_type: str, field: str) -> set[str]:
    return {case.meaning[field] for case in wire.golden(message_type) if "produce" in case.schemas}


def test_every_failure_class_event_state_source_and_mode_occurs() -> None:
    assert values_in_goldens("InvocationResultMessage", "failureClass") == {"", *values_of(FailureClass)}
    assert values_in_goldens("WorkerMetricMessage", "eventType") == set(values_of(Event))
    assert values_in_goldens("DeadLetterMessage", "source") == set(values_of(Source))
    assert values_in_goldens("InvocationMessage", "mode") == {"async", "sync"}
    for message_type, states in STATES.items():
        assert values_in_goldens(message_type, "state") - {""} == set(states)


def test_names_are_unique_and_the_reasons_are_told() -> None:
    assert len({(case.message_type, case.name) for case in GOLDENS}) == len(GOLDENS) > 100
    assert all(case.why.endswith(".") for case in GOLDENS)


def test_the_installed_package_has_a_file_for_each_type_and_no_other() -> None:
    assert tuple(MESSAGES) == wire.MESSAGE_TYPES
    for directory in ("golden", "negative", "schemas/produce", "schemas/consume"):
        found = {entry.name for entry in files(wire).joinpath(directory).iterdir()}
        assert found == {f"{message_type}.json" for message_type in wire.MESSAGE_TYPES}
