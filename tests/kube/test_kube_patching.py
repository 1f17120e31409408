"""Patches of stored objects, by media type, with the failures in the words of the real server."""

import json
from typing import Any

import pytest

from simulator.kube.kinds import DEPLOYMENT, GPUUNIT, Kind, Object
from simulator.kube.patching.json_patch import PatchError, json_patch
from simulator.kube.patching.merge import merge_patch
from simulator.kube.patching.patches import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    check_patch_type,
    config_warnings,
    patched,
    read_config,
)
from simulator.kube.status import ApiFailure
from simulator.kube.write_options import Validation
from tests.kube.apply_world import deployment, schema_of, unit

DOCUMENT = {"list": ["a", "b", "c"], "object": {"name": "x"}, "number": 1}
REJECTED = "the server rejected our request due to an error in our request"


def after(
    obj: Object, patch: Any, media_type: str = MERGE_PATCH, validation: Validation = "Warn"
) -> tuple[Object, list[str]]:
    kind: Kind = GPUUNIT if obj["kind"] == GPUUNIT.kind else DEPLOYMENT
    body = patch if isinstance(patch, bytes) else json.dumps(patch).encode()
    return patched(kind, schema_of(kind), obj, body, media_type, validation)


def failure_of(obj: Object, patch: Any, media_type: str = MERGE_PATCH, validation: Validation = "Warn") -> Object:
    with pytest.raises(ApiFailure) as caught:
        after(obj, patch, media_type, validation)
    return caught.value.body


@pytest.mark.parametrize(
    ("operation", "changed"),
    [
        ({"op": "replace", "path": "/new", "value": 2}, {"new": 2}),
        ({"op": "add", "path": "/new"}, {"new": None}),
        ({"op": "copy", "from": "/absent", "path": "/new"}, {"new": None}),
        ({"op": "copy", "from": "/object", "path": "/new"}, {"new": {"name": "x"}}),
        ({"op": "move", "from": "/number", "path": "/object"}, {"object": 1, "number": ...}),
        ({"op": "remove", "path": "/object/name"}, {"object": {}}),
        ({"op": "remove", "path": "/list/-1"}, {"list": ["a", "b"]}),
        ({"op": "replace", "path": "/list/-3", "value": "z"}, {"list": ["z", "b", "c"]}),
        ({"op": "add", "path": "/list/-", "value": "z"}, {"list": ["a", "b", "c", "z"]}),
        ({"op": "add", "path": "/list/-1", "value": "z"}, {"list": ["a", "b", "c", "z"]}),
        ({"op": "add", "path": "/list/-4", "value": "z"}, {"list": ["z", "a", "b", "c"]}),
        ({"op": "add", "path": "/list/03", "value": "z"}, {"list": ["a", "b", "c", "z"]}),
        ({"op": "test", "path": "/absent"}, {}),
        ({"op": "test", "path": "/object", "value": {"name": "x"}}, {}),
        ({"op": "test", "path": "/list/-1", "value": "c"}, {}),
    ],
)
def test_an_operation_of_a_json_patch(operation: Object, changed: Object) -> None:
    expected = {name: value for name, value in {**DOCUMENT, **changed}.items() if value is not ...}
    assert json_patch(DOCUMENT, [operation]) == expected
    assert DOCUMENT == {"list": ["a", "b", "c"], "object": {"name": "x"}, "number": 1}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/absent"},
        {"op": "remove", "path": ""},
        {"op": "remove", "path": "/list/3"},
        {"op": "remove", "path": "/list/-4"},
        {"op": "replace", "path": "/list/3", "value": "z"},
        {"op": "replace", "path": "/absent/x", "value": "z"},
        {"op": "add", "path": "/list/4", "value": "z"},
        {"op": "add", "path": "/list/x", "value": "z"},
        {"op": "add", "path": "/number/x", "value": "z"},
        {"op": "move", "from": "/absent", "path": "/new"},
        {"op": "test", "path": "/absent", "value": 1},
        {"op": "test", "path": "/number", "value": 1.5},
        {"op": "test", "path": "/number", "value": True},
        {"op": "test", "path": "/list", "value": ["a"]},
        {"op": "append", "path": "/object/name", "value": "z"},
        {"path": "/new"},
        {"op": "add"},
        "text",
    ],
)
def test_an_operation_that_does_not_fit(operation: Any) -> None:
    with pytest.raises(PatchError):
        json_patch(DOCUMENT, [operation])


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": 1, "b": 2}, {"a": None, "c": 3}, {"b": 2, "c": 3}),
        ({"a": {"b": 1}}, {"a": {"c": {"d": None, "e": 1}}}, {"a": {"b": 1, "c": {"e": 1}}}),
        ({"a": [1, 2]}, {"a": [{"b": None}, None]}, {"a": [{}, None]}),
        ({"a": 1}, {"a": {"b": None}}, {"a": {}}),
        ({"a": 1}, 5, 5),
    ],
)
def test_merge_patch(target: Any, patch: Any, merged: Any) -> None:
    assert merge_patch(target, patch) == merged


@pytest.mark.parametrize(
    ("kind", "media_type", "code"),
    [
        *((GPUUNIT, media_type, 0) for media_type in (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)),
        *((DEPLOYMENT, media_type, 0) for media_type in (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)),
        (DEPLOYMENT, STRATEGIC_PATCH, 0),
        (GPUUNIT, STRATEGIC_PATCH, 415),
        (GPUUNIT, "application/json", 415),
        (DEPLOYMENT, "", 415),
    ],
)
def test_the_media_types_that_there_are(kind: Kind, media_type: str, code: int) -> None:
    try:
        check_patch_type(kind, media_type)
        found = 0
    except ApiFailure as failure:
        found = failure.code
    assert found == code


@pytest.mark.parametrize(
    ("patch", "media_type", "code", "message"),
    [
        (b"{bad", MERGE_PATCH, 400, "error decoding patch: invalid character 'b' looking for beginning of object key"),
        (b"[]", MERGE_PATCH, 400, "error decoding patch: json: cannot unmarshal array into Go value of type map["),
        (b"null", MERGE_PATCH, 400, "Invalid JSON Patch"),
        ({"kind": None}, MERGE_PATCH, 422, "Object 'Kind' is missing in '"),
        ({"op": "add"}, JSON_PATCH, 400, "cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        ([1], JSON_PATCH, 400, "cannot unmarshal number into Go value of type handlers.jsonPatchOp"),
        (
            [{"path": 5}],
            JSON_PATCH,
            400,
            "cannot unmarshal number into Go struct field jsonPatchOp.path of type string",
        ),
        ([{"op": "remove", "path": "/x"}], JSON_PATCH, 422, REJECTED),
        ([{"op": "test", "path": "/x"}] * 10_001, JSON_PATCH, 413, "maximum operations in a JSON patch is 10000"),
        ([{"op": "replace", "path": "", "value": [1]}], JSON_PATCH, 422, "couldn't get version/kind; json parse error"),
    ],
)
def test_a_patch_that_is_refused(patch: Any, media_type: str, code: int, message: str) -> None:
    body = failure_of(unit({"specName": "s"}), patch, media_type)
    assert body["code"] == code
    assert message in body["message"]


def test_strict_validation_quotes_the_result() -> None:
    body = failure_of(unit({"specName": "s"}), {"spec": {"colour": "red"}}, validation="Strict")
    assert body["code"] == 422
    assert body["details"]["causes"][0]["field"] == "patch"
    assert body["message"] == (
        ' "" is invalid: patch: Invalid value: "{\\"apiVersion\\":\\"runtime.lokiwager.io/v1alpha1\\",'
        '\\"kind\\":\\"GPUUnit\\",\\"metadata\\":{\\"name\\":\\"u1\\"},'
        '\\"spec\\":{\\"colour\\":\\"red\\",\\"specName\\":\\"s\\"}}": '
        'strict decoding error: unknown field "spec.colour"'
    )


def test_findings_are_warnings_or_nothing() -> None:
    patch = b'{"spec": {"gpu": 1, "gpu": 2, "colour": "red"}}'
    obj, warnings = after(unit({"specName": "s"}), patch)
    assert obj["spec"] == {"specName": "s", "gpu": 2}
    assert warnings == ['duplicate field "spec.gpu"', 'unknown field "spec.colour"']
    assert after(unit({"specName": "s"}), patch, validation="Ignore")[1] == []
    operations = [{"op": "test", "path": "/x", "zzz": 1}]
    assert after(unit({}), operations, JSON_PATCH)[1] == ['json patch unknown field "[0].zzz"']


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"replicas": "two"}, "unrecognized type: int32"),
        ({"replicas": 1.5}, "cannot convert float64 to int32"),
        ({"paused": 1}, "unrecognized type: bool"),
        ({"selector": "x"}, "cannot restore struct from: string"),
        ({"template": {"metadata": {"labels": {"a": 1}}}}, "cannot convert int64 to string"),
        ({"template": {"metadata": {"labels": "x"}}}, "cannot restore map from string"),
        ({"template": {"spec": {"containers": "x"}}}, "cannot restore slice from string"),
        ({"template": {"spec": {"restartPolicy": 5}}}, "cannot convert int64 to v1.RestartPolicy"),
    ],
)
def test_a_strategic_patch_whose_result_is_no_object_of_the_kind(spec: Object, problem: str) -> None:
    body = failure_of(deployment({"name": "c", "image": "i"}), {"spec": spec}, STRATEGIC_PATCH)
    assert body["code"] == 422
    assert body["message"].startswith(' "" is invalid: patch: Invalid value: "map[spec:map[')
    assert body["message"].endswith(f": {problem}")


def test_a_configuration_in_yaml() -> None:
    text = b"kind: GPUUnit\nspec: {specName: yes, image: 'yes', when: 2020-01-01T00:00:00Z, gpu: 0x1f, at: 12:30}\n"
    config, findings = read_config(text)
    spec = {"specName": True, "image": "yes", "when": "2020-01-01T00:00:00Z", "gpu": 31, "at": "12:30"}
    assert config == {"kind": "GPUUnit", "spec": spec}
    assert findings == []
    assert read_config(b"")[0] == {}
    assert read_config(b"a: 1\n---\nb: 2\n")[0] == {"a": 1}
    assert read_config(b"{1: a, null: b, true: c}")[0] == {"1": "a", "null": "b", "true": "c"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"not: [yaml", "converting YAML to JSON: yaml: line 1: did not find expected ',' or ']'"),
        (b"a: 1\n b: 2\n", "converting YAML to JSON: yaml: line 2: mapping values are not allowed in this context"),
        (b"\tx: 1", "converting YAML to JSON: yaml: found character that cannot start any token"),
        (b"a: *x", "converting YAML to JSON: yaml: unknown anchor 'x' referenced"),
        (b"? [a]\n: 1", 'converting YAML to JSON: yaml: invalid map key: []interface {}{"a"}'),
        (b"a: \x01", "converting YAML to JSON: yaml: control characters are not allowed"),
        (b'a: !!int "x"', "converting YAML to JSON: yaml: cannot decode !!str `x` as a !!int"),
        (b"[1]", "unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map["),
    ],
)
def test_what_is_no_configuration(text: bytes, problem: str) -> None:
    with pytest.raises(ApiFailure) as caught:
        read_config(text)
    assert caught.value.body["message"].startswith(f"error decoding YAML: error {problem}")


def test_a_key_that_stands_twice_in_a_configuration() -> None:
    config, findings = read_config(b"spec:\n  gpu: 1\n  gpu: 2\n")
    assert config == {"spec": {"gpu": 2}}
    assert config_warnings(findings, "Warn") == ['line 3: key "gpu" already set in map']
    assert config_warnings(findings, "Ignore") == []
    with pytest.raises(ApiFailure, match="error strict decoding YAML: ") as caught:
        config_warnings(findings, "Strict")
    assert caught.value.code == 400
