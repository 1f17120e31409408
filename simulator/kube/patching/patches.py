"""What a PATCH makes of a stored object: reads the patch, applies it, and reads the result as the kind's object."""

import contextlib
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from simulator.kube.go_text import go_package, go_quoted, go_value
from simulator.kube.kinds import Kind, Object
from simulator.kube.patching.conversion import conversion_problem
from simulator.kube.patching.json_patch import PatchError, json_patch
from simulator.kube.patching.merge import merge_patch
from simulator.kube.patching.patch_errors import BadPatchFormat, ListOfListsError, StrategicPatchError
from simulator.kube.patching.strategic import strategic_merge
from simulator.kube.schema import go_json
from simulator.kube.schema.go_json import DecodeError
from simulator.kube.schema.model import Schema
from simulator.kube.schema.pruning import prune
from simulator.kube.schema.typed import read_typed
from simulator.kube.schema.yaml_body import YamlError, parse_yaml
from simulator.kube.status import ApiFailure, Cause, bad_request, invalid, invalid_value, unsupported_media_type
from simulator.kube.strategy import metadata_in_order
from simulator.kube.write_options import Validation

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

MAX_OPERATIONS: Final = 10_000
"""Of one JSON patch."""

_OF_CUSTOM: Final = (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)
_REJECTED: Final = "the server rejected our request due to an error in our request"
_TYPE_META: Final = (
    r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
)
_OPERATION_FIELDS: Final = ("op", "path", "from", "value")


@dataclass(frozen=True, slots=True)
class _Result:
    """An object after a patch. `quoted` is how messages show it, `findings` what strict validation has against it."""

    obj: Any
    quoted: str
    findings: tuple[str, ...]


def check_patch_type(kind: Kind, media_type: str) -> None:
    """Check that there are patches of this media type for the kind (415)."""
    if media_type in _OF_CUSTOM or (media_type == STRATEGIC_PATCH and not kind.custom):
        return
    if kind.custom:
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {', '.join(_OF_CUSTOM)}"
        )
    raise unsupported_media_type("415: Unsupported Media Type", {})


def patched(
    kind: Kind, schema: Schema, old: Object, body: bytes, media_type: str, validation: Validation = "Warn"
) -> tuple[Object, list[str]]:
    """The object after a patch that is no apply, without what its schema does not have, and before defaults.

    Returns:
        The object, and the warnings for the client.

    Raises:
        ApiFailure: 400 the patch cannot be read, 413, 415, 422 it does not fit the object, or its result the schema,
            500 a strategic merge patch as the real API has it.
    """
    check_patch_type(kind, media_type)
    result = _result(kind, schema, old, body, media_type)
    _check_kind(kind, result)
    try:
        obj, found = _read_custom(schema, result) if kind.custom else read_typed(schema, result.obj)
    except DecodeError as error:
        told = conversion_problem(schema, result.obj) if media_type == STRATEGIC_PATCH else ""
        raise _invalid_patch(result.quoted, told or str(error)) from error
    findings = [*result.findings, *found]
    if findings and validation == "Strict":
        raise _invalid_patch(result.quoted, f"strict decoding error: {', '.join(findings)}")
    return obj, findings if validation == "Warn" else []


def _check_kind(kind: Kind, result: _Result) -> None:
    """Check that the patch did not make the object one of another kind or version."""
    if not isinstance(result.obj, dict):
        return
    version, name = result.obj.get("apiVersion"), result.obj.get("kind")
    if kind.custom and isinstance(version, str) and version and version != kind.api_version:
        other = replace(kind, group=version.rpartition("/")[0])
        cause = invalid_value("apiVersion", go_quoted(version), f"must be {kind.api_version}")
        raise invalid(other, str(result.obj["metadata"].get("name")), [cause])
    if not kind.custom and name and (version, name) != (kind.api_version, kind.kind):
        into = f"{go_package(kind.group)}.{kind.kind}"
        problem = f"converting ({str(version).rpartition('/')[2]}.{name}) to ({into}): unknown conversion"
        raise _invalid_patch(result.quoted, problem)


def _read_custom(schema: Schema, result: _Result) -> tuple[Object, list[str]]:
    if not isinstance(result.obj, dict):
        held = go_json.kind_of(result.obj)
        raise DecodeError(
            "couldn't get version/kind; json parse error: "
            f"json: cannot unmarshal {held} into Go value of type {_TYPE_META}"
        )
    if not result.obj.get("kind"):
        raise DecodeError(f"Object 'Kind' is missing in '{result.quoted}'")
    return prune(schema, go_json.plain(result.obj))


def read_config(body: bytes) -> tuple[Object, list[str]]:
    """The configuration that is applied, from JSON or YAML, and what `config_warnings` has to know of it (400)."""
    try:
        config, repeated = _parsed_config(body)
    except YamlError as error:
        raise bad_request(f"error decoding YAML: error converting YAML to JSON: {error}") from error
    if config is not None and not isinstance(config, dict):
        problem = f"json: cannot unmarshal {go_json.kind_of(config)} into Go value of type map[string]interface {{}}"
        raise bad_request(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {problem}")
    try:
        return go_json.plain(config or {}), repeated
    except DecodeError as error:
        raise bad_request(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {error}") from error


def _parsed_config(body: bytes) -> tuple[Any, list[str]]:
    """JSON, which most clients send, is YAML too, and read much faster as what it is."""
    if body.startswith(b"{"):
        with contextlib.suppress(go_json.JsonError):
            config = go_json.parse(body)
            if not any(go_json.duplicates(config)):
                return config, []
    return parse_yaml(body)


def config_warnings(repeated: list[str], validation: Validation) -> list[str]:
    """The warnings for who applied; the real API checks this only after the apply itself (400 if `Strict`)."""
    if not repeated or validation == "Ignore":
        return []
    if validation == "Strict":
        text = "\n  ".join(["error converting YAML to JSON: yaml: unmarshal errors:", *repeated])
        raise bad_request(f"error strict decoding YAML: {text}")
    return repeated


def _result(kind: Kind, schema: Schema, old: Object, body: bytes, media_type: str) -> _Result:
    if media_type == STRATEGIC_PATCH:
        return _strategic_result(schema, old, body)
    patch = _read(body, list if media_type == JSON_PATCH else dict, "error decoding patch: ")
    if media_type == MERGE_PATCH:
        if patch is None:
            raise bad_request("Invalid JSON Patch")
        new = merge_patch(old, patch)
        findings = [f'duplicate field "{path}"' for path in go_json.duplicates(patch)]
    else:
        _check_operations(patch or [])
        new = _after_operations(old, patch or [])
        findings = [f"json patch {finding}" for finding in _operation_findings(patch or [])]
    return _Result(new, _quoted(kind, old, new), tuple(findings))


def _strategic_result(schema: Schema, old: Object, body: bytes) -> _Result:
    patch = _read(body, dict, "") or {}
    try:
        new = strategic_merge(schema, old, patch)
    except BadPatchFormat as error:
        raise bad_request(str(error)) from error
    except ListOfListsError as error:
        raise ApiFailure(422, _REJECTED, "Invalid", {}) from error
    except StrategicPatchError as error:
        raise ApiFailure(500, str(error)) from error
    findings = tuple(f'duplicate field "{path}"' for path in go_json.duplicates(patch))
    return _Result(new, go_value(patch), findings)


def _read(body: bytes, form: type, prefix: str) -> Any:
    """The patch as JSON of that form, or None for null."""
    try:
        patch = go_json.parse(body)
    except go_json.JsonError as error:
        raise bad_request(f"{prefix}{error}") from error
    if isinstance(patch, form) or patch is None:
        return patch
    wanted = "[]handlers.jsonPatchOp" if form is list else "map[string]interface {}"
    raise bad_request(f"{prefix}json: cannot unmarshal {go_json.kind_of(patch)} into Go value of type {wanted}")


def _after_operations(old: Object, operations: list[Any]) -> Any:
    if len(operations) > MAX_OPERATIONS:
        problem = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        raise ApiFailure(413, f"Request entity too large: {problem}", "RequestEntityTooLarge", {})
    try:
        return json_patch(old, operations)
    except PatchError as error:
        raise ApiFailure(422, _REJECTED, "Invalid", {}) from error


def _check_operations(operations: list[Any]) -> None:
    for operation in operations:
        if operation is not None and not isinstance(operation, dict):
            raise _not_an_operation(operation, "value of type handlers.jsonPatchOp")
        for name in _OPERATION_FIELDS[:-1]:
            held = (operation or {}).get(name)
            if held is not None and not isinstance(held, str):
                raise _not_an_operation(held, f"struct field jsonPatchOp.{name} of type string")


def _not_an_operation(value: Any, place: str) -> ApiFailure:
    return bad_request(f"error decoding patch: json: cannot unmarshal {go_json.kind_of(value)} into Go {place}")


def _operation_findings(operations: list[Any]) -> list[str]:
    found = [f'duplicate field "{path}"' for path in go_json.duplicates(operations)]
    for index, operation in enumerate(operations):
        if isinstance(operation, dict):
            unknown = [name for name in operation if name not in _OPERATION_FIELDS]
            found += [f'unknown field "[{index}].{name}"' for name in unknown]
    return found


def _invalid_patch(quoted: str, problem: str) -> ApiFailure:
    """The result of the patch is no object of the kind (422)."""
    value = msgspec.json.encode(quoted).decode()
    cause = Cause("FieldValueInvalid", f"Invalid value: {value}: {problem}", "patch")
    causes = [{"reason": cause.reason, "message": cause.message, "field": cause.field}]
    return ApiFailure(422, f' "" is invalid: {cause.field}: {cause.message}', "Invalid", {"causes": causes})


def _quoted(kind: Kind, old: Any, new: Any) -> str:
    """The result as the real server writes it: what the patch touched has its names in order."""
    ordered = new if kind.custom else _touched_in_order(old, _with_metadata_in_order(new))
    return msgspec.json.encode(ordered, enc_hook=_as_written, order="sorted" if kind.custom else None).decode()


def _with_metadata_in_order(obj: Any) -> Any:
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
        return obj
    return {**obj, "metadata": metadata_in_order(obj["metadata"])}


def _as_written(number: go_json.Fraction) -> msgspec.Raw:
    return msgspec.Raw(number.text.encode())


def _touched_in_order(old: Any, new: Any) -> Any:
    if not isinstance(new, dict) or (new == old and "kind" not in new):
        return new
    before = old if isinstance(old, dict) else {}
    return {name: _touched_in_order(before.get(name), new[name]) for name in sorted(new)}
