"""What a request to the Kubernetes API asks for, checked before anything is done: media types, body, parameters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from simulator.kube.deletion import DeleteOptions
from simulator.kube.kinds import Kind, Object
from simulator.kube.selectors import Selector, parse_selector
from simulator.kube.status import (
    ApiFailure,
    Cause,
    bad_request,
    forbidden_value,
    invalid,
    invalid_options,
    invalid_value,
    not_acceptable,
    too_large,
    unsupported_media_type,
)

MAX_BODY_BYTES = 3 * 1024 * 1024
"""The real API's limit."""

MERGE_PATCH = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"  # for built-in kinds only
_KNOWN_PATCHES = ("application/json-patch+json", _STRATEGIC, "application/apply-patch+yaml")
_PATCHES_OF_CUSTOM = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
_MEDIA_TYPES = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
_SHOWN_BYTES = 30


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The parameters of a list or a watch.

    `resource_version` None means "now", `timeout_s` None means without end, `send_initial` None that it was not said.
    """

    selector: Selector
    watch: bool
    resource_version: int | None
    send_initial: bool | None
    bookmarks: bool
    timeout_s: int | None


def check_accepts_json(accept: str) -> None:
    """Check that the client takes JSON. Tables and other forms are not made; clients name JSON as their second choice.

    Raises:
        ApiFailure: 406.
    """
    for choice in accept.split(","):
        media_type, *parameters = (part.strip() for part in choice.split(";"))
        special_form = any(parameter.startswith("as=") for parameter in parameters)
        if media_type in ("", "*/*", "application/*", "application/json") and not special_form:
            return
    raise not_acceptable(_MEDIA_TYPES)


async def read_body(request: web.Request) -> bytes:
    """Read the request's body (413 when it is too long)."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise too_large(MAX_BODY_BYTES) from error


async def read_object(request: web.Request, kind: Kind, namespace: str | None, name: str | None) -> Object:
    """Read the object that is to be created or to replace another (400, 413, 415, 422).

    `name` is that of the path; None where the path has none.
    """
    if request.headers.get("Content-Type") and request.content_type != "application/json":
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {_MEDIA_TYPES}"
        )
    body = await read_body(request)
    try:
        obj = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind.kind}): couldn't get version/kind; "
            f"json parse error: {_go_error(body, error)} ({_shown(body)})"
        ) from error
    return check_envelope(obj, kind, namespace, name, body)


async def read_merge_patch(request: web.Request, kind: Kind) -> Object:
    """Read a merge patch (400, 413, 415 for every other kind of patch)."""
    media_type = request.content_type if request.headers.get("Content-Type") else ""
    if media_type != MERGE_PATCH:
        raise _unsupported_patch(kind, media_type)
    body = await read_body(request)
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise bad_request(f"error decoding patch: {_go_error(body, error)}") from error


def _unsupported_patch(kind: Kind, media_type: str) -> ApiFailure:
    if media_type in _KNOWN_PATCHES and not (kind.custom and media_type == _STRATEGIC):
        return unsupported_media_type(f"{media_type} is not supported by this server: send {MERGE_PATCH}")
    if kind.custom:
        return unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {_PATCHES_OF_CUSTOM}"
        )
    return unsupported_media_type("415: Unsupported Media Type", {})


def check_envelope(obj: Object, kind: Kind, namespace: str | None, name: str | None, body: bytes = b"") -> Object:
    """Check that the object is of this kind and belongs to the path it was sent to; return it with its name.

    Raises:
        ApiFailure: 400 or 422; the message names what differs.
    """
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    _check_type(obj, kind, str(metadata.get("name") or ""), body)
    if name is not None:
        named = metadata.get("name")
        if not named:
            raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
        if named != name:
            raise bad_request(f"the name of the object ({named}) does not match the name on the URL ({name})")
    if metadata.get("namespace") not in (None, "", namespace):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    return obj


def _check_type(obj: Object, kind: Kind, name: str, body: bytes) -> None:
    sent_version, sent_kind = obj.get("apiVersion"), obj.get("kind")
    if not kind.custom and not sent_version and not sent_kind:
        return  # the path says what a built-in is
    if not sent_kind:
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind.kind}): Object 'Kind' is missing in "
            f"'{body.decode(errors='replace')}' ({_shown(body)})"
        )
    if sent_version != kind.api_version:
        raise bad_request(
            f"the API version in the data ({sent_version or ''}) does not match the expected API version "
            f"({kind.api_version})"
        )
    if sent_kind != kind.kind and kind.custom:
        cause = invalid_value("kind", f'"{sent_kind}"', f"must be {kind.kind}")
        raise invalid(kind, name, [cause], kind_name=str(sent_kind))
    if sent_kind != kind.kind:
        raise bad_request(f'{sent_kind} in version "{kind.version}" cannot be handled as a {kind.kind}')


class _Preconditions(msgspec.Struct, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class _DeleteBody(msgspec.Struct, rename="camel"):
    kind: str | None = None
    api_version: str | None = None
    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    preconditions: _Preconditions | None = None


async def read_delete_options(request: web.Request) -> DeleteOptions:
    """Read how to delete, from the body and the parameters (400, 422)."""
    body = await read_body(request)
    try:
        sent = msgspec.json.decode(body, type=_DeleteBody) if body else _DeleteBody()
    except msgspec.ValidationError as error:
        raise bad_request(str(error)) from error
    except msgspec.DecodeError as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {_go_error(body, error)}") from error
    if sent.kind not in (None, "", "DeleteOptions"):
        raise bad_request(
            f'no kind "{sent.kind}" is registered for version "{sent.api_version or ""}" '
            'in scheme "pkg/runtime/scheme.go:111"'
        )
    grace_s = int_parameter(request.query, "gracePeriodSeconds")
    _check_propagation(request.query.get("propagationPolicy") or sent.propagation_policy)
    preconditions = sent.preconditions or _Preconditions()
    return DeleteOptions(
        grace_period_s=sent.grace_period_seconds if grace_s is None else grace_s,
        uid=preconditions.uid,
        resource_version=preconditions.resource_version,
    )


def _check_propagation(policy: str | None) -> None:
    if policy in ("Foreground", "Orphan"):
        raise bad_request(f"propagationPolicy {policy} is not supported by this server: send Background")
    if policy not in (None, "", "Background"):
        problem = f'Unsupported value: "{policy}": supported values: "Foreground", "Background", "Orphan", "nil"'
        raise invalid_options("DeleteOptions", Cause("FieldValueNotSupported", problem, "propagationPolicy"))


def check_no_dry_run(query: Mapping[str, str]) -> None:
    """Check that the request is meant: a dry run must not be taken for the real thing (400)."""
    if query.get("dryRun"):
        raise bad_request("dryRun is not supported by this server")


def list_options(kind: Kind, query: Mapping[str, str]) -> ListOptions:
    """The parameters of a list or a watch (400, 422, 500 as the real API has it for a malformed version)."""
    selector = parse_selector(kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))
    watch = _bool_parameter(query, "watch")
    send_initial = _bool_parameter(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    if send_initial is not None:
        _check_send_initial(watch, query.get("resourceVersionMatch", ""))
    timeout_s = int_parameter(query, "timeoutSeconds")
    version = query.get("resourceVersion", "")
    if version and not version.isdecimal():
        problem = f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax'
        raise ApiFailure(500, problem) if watch else bad_request(f"invalid resource version: {problem}")
    return ListOptions(
        selector=selector,
        watch=watch,
        resource_version=int(version) if version else None,
        send_initial=send_initial,
        bookmarks=_bool_parameter(query, "allowWatchBookmarks"),
        timeout_s=timeout_s,
    )


def _check_send_initial(watch: bool, version_match: str) -> None:
    if not watch:
        cause = forbidden_value("sendInitialEvents", "sendInitialEvents is forbidden for list")
        raise invalid_options("ListOptions", cause)
    if version_match != "NotOlderThan":
        problem = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise invalid_options("ListOptions", forbidden_value("resourceVersionMatch", problem))


def int_parameter(query: Mapping[str, str], name: str) -> int | None:
    """A whole-numbered parameter, None when it is not there (400)."""
    text = query.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def _bool_parameter(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("1", "true", "t")


def _go_error(body: bytes, error: msgspec.DecodeError) -> str:
    """The problem in the words of the real server, for the cases that have simple ones."""
    text = body.lstrip()
    if not text or "truncated" in str(error):
        return "unexpected end of JSON input"
    if isinstance(error, msgspec.ValidationError) and text[:1] == b"[":
        return "json: cannot unmarshal array into Go value of type map[string]interface {}"
    if match := re.search(r"object keys must be strings \(byte (\d+)\)", str(error)):
        return f"invalid character '{chr(body[int(match[1])])}' looking for beginning of object key string"
    first = chr(text[0])
    if first not in '{["-0123456789tfn':
        return f"invalid character '{first}' looking for beginning of value"
    return str(error)


def _shown(body: bytes) -> str:
    """The start of a body, as the real server quotes it."""
    if not body:
        return "<empty>"
    start = body[:_SHOWN_BYTES]
    text = start.decode(errors="replace") if start.lstrip().startswith(b"{") else start.hex()
    return text if len(body) <= _SHOWN_BYTES else f"{text} ..."
