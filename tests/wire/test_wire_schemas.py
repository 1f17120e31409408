"""The shipped schemas come from the types, and accept what the decoders accept."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fixtures import wire
from fixtures.wire import generate
from fixtures.wire.field_notes import FIELD_NOTES, OWN_NOTES, field_note
from fixtures.wire.message_schemas import MESSAGES, VARIANTS
from sidecar.dead_letters import decode_dispatch, is_usable_id
from sidecar.messages import InvocationMessage, MalformedMessageError, decode
from sidecar.outcome import AnswerError, read_envelope

TIME = "2026-03-04T05:06:07.25Z"
SWAPS: list[Any] = [
    *(None, True, False, -1, 0, 1, 99, 100, 599, 600, 2**31 - 1, 2**31, -(2**31) - 1, 0.5),
    *("", "a", "a b", "é", TIME, "2026-03-04T05:06:07+02:00", "yesterday", "2026-03-04", "2026-03-04T05:06:07"),
    *([], [1], {}, {"a": "b"}, {"a": 1}, {"a": None}),
]


def test_the_shipped_schemas_are_those_of_the_types() -> None:
    assert generate.stale_files(generate.DIRECTORY) == []
    assert generate.main(["--check"]) == 0
    assert len(generate.schema_files()) == len(VARIANTS) * len(MESSAGES)


def test_check_finds_what_is_missing_changed_or_left_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main([], tmp_path) == 0
    assert generate.main(["--check"], tmp_path) == 0
    (tmp_path / "consume/InvocationMessage.json").unlink()
    (tmp_path / "produce/InvocationMessage.json").write_text("{}\n")
    (tmp_path / "produce/OldMessage.json").write_text("{}\n")
    assert generate.main(["--check"], tmp_path) == 1
    stale = ["consume/InvocationMessage.json", "produce/InvocationMessage.json", "produce/OldMessage.json"]
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == [f"schemas/{path}" for path in stale]
    assert generate.main([], tmp_path) == 0
    assert generate.stale_files(tmp_path) == []
    assert not (tmp_path / "produce/OldMessage.json").exists()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("message_type", wire.MESSAGE_TYPES)
def test_a_schema_is_sound_and_names_no_host(message_type: str, variant: Any) -> None:
    schema = wire.schema(message_type, variant)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"{variant}/{message_type}.json"
    assert all(prop["description"].endswith(".") for prop in schema["properties"].values())
    without_dialect = json.dumps({name: value for name, value in schema.items() if name != "$schema"})
    assert "://" not in without_dialect


def test_every_note_is_of_a_field_and_every_field_has_one() -> None:
    fields = {
        (message, field.encode_name) for message, kind in MESSAGES.items() for field in msgspec.structs.fields(kind)
    }
    assert set(FIELD_NOTES) == {field for _, field in fields}
    assert set(OWN_NOTES) <= fields
    with pytest.raises(KeyError):
        field_note("InvocationMessage", "later")


def accepts(message_type: str, data: bytes) -> bool:
    """Whether the message's own reader takes it; whose dispatch it is does not matter here."""
    try:
        match message_type:
            case "WorkerDispatchMessage":
                decode_dispatch(data)
            case "InvocationMessage":
                return is_usable_id(decode(data, InvocationMessage).invocation_id)
            case "InvocationResponse":
                read_envelope(200, data)
            case _:
                decode(data, MESSAGES[message_type])
    except (MalformedMessageError, AnswerError):
        return False
    return True


VALIDATORS = {name: jsonschema.Draft202012Validator(wire.schema(name, "consume")) for name in wire.MESSAGE_TYPES}
FULL = {
    name: max((json.loads(case.data) for case in wire.golden(name) if "produce" in case.schemas), key=len)
    for name in wire.MESSAGE_TYPES
}


@given(st.data())
@settings(max_examples=500, deadline=None, derandomize=True)
def test_schema_and_reader_agree_on_every_field(data: st.DataObject) -> None:
    """A value put in place of another, or a field left out: both accept the message, or both refuse it."""
    message_type = data.draw(st.sampled_from(wire.MESSAGE_TYPES))
    message = dict(FULL[message_type])
    field = data.draw(st.sampled_from(sorted(message)))
    if data.draw(st.booleans()):
        del message[field]
    else:
        message[field] = data.draw(st.sampled_from(SWAPS))
    # The framework's own reader, which is not asked here, refuses requests without an ID.
    assume(message_type != "InvocationRequest" or field != "invocationID")
    by_schema = VALIDATORS[message_type].is_valid(message)
    assert accepts(message_type, json.dumps(message).encode()) is by_schema


@pytest.mark.parametrize("message_type", wire.MESSAGE_TYPES)
def test_a_writer_is_held_to_more_than_a_reader(message_type: str) -> None:
    """No misspelt field, no unknown value, and nothing that the contract requires left out."""
    produce = jsonschema.Draft202012Validator(wire.schema(message_type, "produce"))
    message = FULL[message_type]
    assert produce.is_valid(message)
    assert not produce.is_valid(message | {"Unknown": 1})
    if message_type != "InvocationResponse":
        assert not produce.is_valid(message | {"version": "v2"})
        assert not produce.is_valid({name: value for name, value in message.items() if name != "version"})


def test_a_writer_of_results_names_the_class_of_a_failure_and_of_nothing_else() -> None:
    """S17."""
    produce = jsonschema.Draft202012Validator(wire.schema("InvocationResultMessage", "produce"))
    full = FULL["InvocationResultMessage"]
    unclassed = {name: value for name, value in full.items() if name != "failureClass"}
    assert not produce.is_valid(unclassed)
    assert produce.is_valid(unclassed | {"state": "succeeded"})
    assert not produce.is_valid(full | {"state": "succeeded"})
