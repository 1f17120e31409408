"""From the bytes of a request's body to an object of the kind that its path says, or the real server's refusal.

Pure functions. What a client sent is read in three steps: JSON or YAML, or Protocol Buffers for a built-in kind; then
what kind it says it is of; then its fields against the schema of that kind.
"""

from typing import Any, NoReturn

from simulator.kube.kinds import Kind, Object
from simulator.kube.schema.builtin import body_schema, definition_names, is_registered
from simulator.kube.schema.go_json import DecodeError, JsonError, duplicates, kind_of, parse, plain
from simulator.kube.schema.model import ANY, Schema
from simulator.kube.schema.protobuf import MEDIA_TYPE, has_message, opened, read_message
from simulator.kube.schema.protobuf_wire import ProtobufError
from simulator.kube.schema.pruning import prune
from simulator.kube.schema.typed import read_typed
from simulator.kube.schema.yaml_body import YamlError, parse_yaml
from simulator.kube.status import ApiFailure, bad_request, unsupported_media_type
from simulator.kube.write_options import Validation

JSON = "application/json"
YAML = "application/yaml"
_ACCEPTED = f"{JSON}, {YAML}, {MEDIA_TYPE}"
_SHOWN_BYTES = 30
_TYPE_OF_KIND = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
)
_SCHEME = "pkg/runtime/scheme.go:111"


def decode(
    kind: Kind, schema: Schema, body: bytes, media_type: str, validation: Validation
) -> tuple[Object, list[str]]:
    """Read the object that is to be created or to replace another.

    `media_type` is empty where the client did not say one. `validation` is what becomes of fields that occur twice or
    that the schema does not have: they fail the request, they are warned of, or they are dropped.

    Returns:
        The object, without them, and the warnings.

    Raises:
        ApiFailure: 400 it is not of this kind, or a value has a wrong type; 415 another media type. Its `warnings`
            are those that belong to the answer.
    """
    value, repeated = _parsed(kind, body, media_type)
    group, version, named = _identity(kind, value, body)
    try:
        obj, findings = _read(kind, schema, value, (group, version, named))
    except DecodeError as error:
        raise _unreadable(kind, named, version, error) from error
    findings = [*repeated, *findings]
    if findings and validation == "Strict":
        raise _unreadable(kind, named, version, f"strict decoding error: {', '.join(findings)}")
    warnings = findings if validation == "Warn" else []
    sent = f"{group}/{version}" if group else version
    if sent != kind.api_version:
        raise ApiFailure(
            400,
            f"the API version in the data ({sent}) does not match the expected API version ({kind.api_version})",
            "BadRequest",
            warnings=warnings,
        )
    return obj, warnings


def decode_value(kind: Kind, schema: Schema, obj: Object) -> tuple[Object, list[str]]:
    """Read an object that was made here, such as one to which a patch was applied.

    Returns:
        The object without what its schema does not have, and what strict validation has against it.

    Raises:
        DecodeError: a value has a wrong type.
    """
    return prune(schema, obj) if kind.custom else read_typed(schema, obj)


def check_identity(kind: Kind, obj: Object, namespace: str | None, name: str | None) -> None:
    """Check that the object belongs to the path that it was sent to; `name` is None where the path has none.

    Raises:
        ApiFailure: 400; the message names what differs.
    """
    metadata = obj.get("metadata") or {}
    held_in = metadata.get("namespace")
    if kind.namespaced and held_in and held_in != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if name is None:
        return
    named = metadata.get("name")
    if not named:
        raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if named != name:
        raise bad_request(f"the name of the object ({named}) does not match the name on the URL ({name})")


def parsed_body(body: bytes, media_type: str) -> tuple[Any, list[str]]:
    """The value of a body, and what strict validation has against its text as far as no schema is needed.

    Raises:
        ValueError: the body is neither JSON nor, where that is its media type, YAML; the message is the real server's.
        ApiFailure: 415 another media type.
    """
    if media_type == YAML:
        value, repeated = parse_yaml(body)
        problem = "\n  ".join(["yaml: unmarshal errors:", *repeated])
        return value, [problem] if repeated else []
    if media_type not in ("", JSON):
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {_ACCEPTED}"
        )
    return parse(body), []


def _parsed(kind: Kind, body: bytes, media_type: str) -> tuple[Any, list[str]]:
    if media_type == MEDIA_TYPE and not kind.custom:
        return _parsed_protobuf(kind, body), []
    try:
        return parsed_body(body, media_type)
    except JsonError as error:
        raise _unrecognized(kind, body, f"couldn't get version/kind; json parse error: {error}") from error
    except YamlError as error:
        raise _unrecognized(kind, body, str(error)) from error


def _parsed_protobuf(kind: Kind, body: bytes) -> Object:
    """The object as its client would have sent it in JSON; only its kind if that is one that is not read further."""
    try:
        envelope = opened(body)
    except ProtobufError as error:
        raise _unrecognized(kind, body, str(error)) from error
    sent = "" if envelope.api_version.count("/") > 1 else envelope.api_version
    api_version, named = sent or kind.api_version, envelope.kind or kind.kind
    group, _, version = api_version.rpartition("/")
    definition = definition_names().get((group, version, named), "")
    try:
        fields = read_message(definition, envelope.raw) if has_message(definition) else {}
    except ProtobufError as error:
        raise _unreadable(kind, named, version, error) from error
    return {"kind": named, "apiVersion": api_version, **fields}


def _identity(kind: Kind, value: Any, body: bytes) -> tuple[str, str, str]:
    """Group, version and kind of what was sent; the path says what the body does not."""
    if value is not None and not isinstance(value, dict):
        _fail_parse(kind, body, f"json: cannot unmarshal {kind_of(value)} into Go value of type {_TYPE_OF_KIND}")
    sent = value or {}
    for field in sent:
        if field in ("apiVersion", "kind") and not isinstance(sent[field], str | None):
            found = kind_of(sent[field])
            _fail_parse(kind, body, f"json: cannot unmarshal {found} into Go struct field .{field} of type string")
    api_version = sent.get("apiVersion") or ""
    if api_version.count("/") > 1:
        raise _unrecognized(kind, body, f"unexpected GroupVersion string: {api_version}")
    group, _, version = api_version.rpartition("/")
    named = sent.get("kind") or ""
    if kind.custom:
        if not named:
            text = body.decode(errors="replace")
            raise _unrecognized(kind, body, f"Object 'Kind' is missing in '{text}'")
        return group, version, named
    if not group and not version:
        group, version = kind.group, kind.version
    elif not version and group == kind.group:
        version = kind.version
    return group, version, named or kind.kind


def _read(kind: Kind, schema: Schema, value: Any, identity: tuple[str, str, str]) -> tuple[Object, list[str]]:
    """The fields of what was sent, and what strict validation has against them.

    Raises:
        DecodeError: it cannot be read as what it says it is, or not as this kind.
    """
    if kind.custom:
        return _read_custom(kind, schema, value, identity)
    _, version, named = identity
    if identity != (kind.group, kind.version, kind.kind):
        schema = _registered_schema(kind, schema, identity)
    obj, findings = read_typed(schema, value or {})
    if named != kind.kind:
        internal = f"{kind.group.partition('.')[0] or 'core'}.{kind.kind}"
        raise DecodeError(f"converting ({version}.{named}) to ({internal}): unknown conversion")
    return obj, findings


def _read_custom(kind: Kind, schema: Schema, value: Any, identity: tuple[str, str, str]) -> tuple[Object, list[str]]:
    group, version, named = identity
    repeated = [f'duplicate field "{path}"' for path in dict.fromkeys(duplicates(value))]
    obj: Object = plain(value)
    if (group, named) != (kind.group, kind.kind):
        schema = ANY
    elif version != kind.version:
        schema = Schema(type="object")
    obj, findings = prune(schema, obj)
    return obj, [*repeated, *findings]


def _registered_schema(kind: Kind, schema: Schema, identity: tuple[str, str, str]) -> Schema:
    """The schema of another kind, or of another version of this one, that a body says it is of."""
    group, version, named = identity
    api_version = f"{group}/{version}" if group else version
    if not is_registered(api_version, named):
        raise DecodeError(f'no kind "{named}" is registered for version "{api_version}" in scheme "{_SCHEME}"')
    if named == kind.kind:
        return schema
    try:
        return body_schema(group, version, named)
    except KeyError:
        return ANY


def _unreadable(kind: Kind, named: str, version: str, problem: object) -> ApiFailure:
    return bad_request(f'{named} in version "{version}" cannot be handled as a {kind.kind}: {problem}')


def _unrecognized(kind: Kind, body: bytes, problem: str) -> ApiFailure:
    return bad_request(f"the object provided is unrecognized (must be of type {kind.kind}): {problem} ({_shown(body)})")


def _fail_parse(kind: Kind, body: bytes, problem: str) -> NoReturn:
    raise _unrecognized(kind, body, f"couldn't get version/kind; json parse error: {problem}")


def _shown(body: bytes) -> str:
    """The start of a body, as the real server quotes it."""
    if not body:
        return "<empty>"
    start = body[:_SHOWN_BYTES]
    text = start.decode(errors="replace") if body.startswith(b"{") else start.hex()
    return text if len(body) <= _SHOWN_BYTES else f"{text} ..."
