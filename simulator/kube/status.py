"""The failures of the Kubernetes API, as the `Status` objects that a client reads."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from simulator.kube.access.attributes import Attributes
from simulator.kube.go_text import go_quoted
from simulator.kube.kinds import Kind, Object


class ApiFailure(Exception):  # noqa: N818 - an answer of the API rather than a fault
    """A request is answered with this failure; `body` is the Status object, `warnings` go with it."""

    def __init__(
        self,
        code: int,
        message: str,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        *,
        warnings: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.warnings = tuple(warnings)
        self.body: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            **({"reason": reason} if reason else {}),
            **({"details": dict(details)} if details is not None else {}),
            "code": code,
        }


@contextmanager
def with_warnings(warnings: Sequence[str]) -> Iterator[None]:
    """Let a failure within carry these warnings, too."""
    try:
        yield
    except ApiFailure as failure:
        failure.warnings = (*warnings, *failure.warnings)
        raise


@dataclass(frozen=True, slots=True)
class Cause:
    """What is wrong with one field. `reason` is the API's word, such as `FieldValueInvalid`."""

    reason: str
    message: str
    field: str


def invalid_value(field: str, value: str, problem: str) -> Cause:
    """The cause "the field holds `value`, which `problem`"; `value` is written as given."""
    return Cause("FieldValueInvalid", f"Invalid value: {value}: {problem}", field)


def required(field: str, problem: str) -> Cause:
    """The cause "the field must be there"."""
    return Cause("FieldValueRequired", f"Required value: {problem}" if problem else "Required value", field)


def forbidden_value(field: str, problem: str) -> Cause:
    """The cause "the field must not be set, or changed, so"."""
    return Cause("FieldValueForbidden", f"Forbidden: {problem}", field)


def success(kind: Kind, name: str, uid: str) -> Object:
    """The answer to a delete that removed the object."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {**_details(kind, name), "uid": uid},
    }


def not_found(kind: Kind, name: str) -> ApiFailure:
    """No such object (404)."""
    return ApiFailure(404, f"{kind.resource} {go_quoted(name)} not found", "NotFound", _details(kind, name))


def no_such_resource() -> ApiFailure:
    """No such path (404)."""
    return ApiFailure(404, "the server could not find the requested resource", "NotFound", {})


def already_exists(kind: Kind, name: str, *, terminating: bool) -> ApiFailure:
    """The name is taken (409), perhaps by an object that waits for its finalizers."""
    prefix = "object is being deleted: " if terminating else ""
    message = f"{prefix}{kind.resource} {go_quoted(name)} already exists"
    return ApiFailure(409, message, "AlreadyExists", _details(kind, name))


def conflict(kind: Kind, name: str, problem: str = "") -> ApiFailure:
    """The object is not the one that was read (409)."""
    problem = problem or ("the object has been modified; please apply your changes to the latest version and try again")
    message = f"Operation cannot be fulfilled on {kind.resource} {go_quoted(name)}: {problem}"
    return ApiFailure(409, message, "Conflict", _details(kind, name))


def wrong_uid(kind: Kind, namespace: str | None, name: str, asked: str, actual: str) -> ApiFailure:
    """The object of this name is another one than was read (409)."""
    path = "/".join(filter(None, [kind.group if kind.custom else "", kind.plural, namespace, name]))
    return conflict(
        kind,
        name,
        f"StorageError: invalid object, Code: 4, Key: /registry/{path}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {asked}, UID in object meta: {actual}",
    )


def failed_precondition(kind: Kind, name: str, problem: str) -> ApiFailure:
    """The object is not the one that a delete asked for (409)."""
    message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {problem}'
    return ApiFailure(409, message, "Conflict", {**_details(kind, name), "kind": kind.kind})


def namespace_terminating(kind: Kind, name: str, namespace: str) -> ApiFailure:
    """Nothing can be created in a namespace that is being deleted (403)."""
    message = (
        f'{kind.resource} "{name}" is forbidden: unable to create new content in namespace {namespace} '
        "because it is being terminated"
    )
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    return ApiFailure(403, message, "Forbidden", {**_details(kind, name), "causes": [cause]})


def definition_terminating(kind: Kind, name: str) -> ApiFailure:
    """No object can be created of a resource whose definition is being deleted (403)."""
    problem = "create not allowed while custom resource definition is terminating"
    return ApiFailure(403, f'{kind.resource} "{name}" is forbidden: {problem}', "Forbidden", _details(kind, name))


def immortal_namespace(name: str) -> ApiFailure:
    """The namespace is one that stays (403)."""
    message = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    return ApiFailure(403, message, "Forbidden", {"name": name, "kind": "namespaces"})


def bad_request(message: str) -> ApiFailure:
    """The request cannot be understood (400)."""
    return ApiFailure(400, message, "BadRequest")


def forbidden(attributes: Attributes, user: str, reason: str = "") -> ApiFailure:
    """The user may not do this (403); `reason` says what may be behind it."""
    prefix, what, details = "forbidden", f'path "{attributes.path}"', {}
    if attributes.resource:
        resource = f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource
        named = f' "{attributes.name}"' if attributes.name else ""
        prefix = f"{resource}{named} is forbidden"
        subresource = f"/{attributes.subresource}" if attributes.subresource else ""
        scope = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
        what = f'resource "{attributes.resource}{subresource}" in API group "{attributes.group}" {scope}'
        details = {
            **({"name": attributes.name} if attributes.name else {}),
            **({"group": attributes.group} if attributes.group else {}),
            "kind": attributes.resource,
        }
    problem = f"User {go_quoted(user)} cannot {attributes.verb} {what}"
    for character, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        problem = problem.replace(character, written)  # as the real server does, lest a browser should read HTML
    suffix = f": {reason}" if reason else ""
    return ApiFailure(403, f"{prefix}: {problem}{suffix}", "Forbidden", details)


def unauthorized() -> ApiFailure:
    """The client did not say, or prove, who it is (401)."""
    return ApiFailure(401, "Unauthorized", "Unauthorized")


def invalid(kind: Kind, name: str, causes: Sequence[Cause], *, kind_name: str | None = None) -> ApiFailure:
    """The object breaks rules (422); `kind_name` is the kind as the object itself has it."""
    named = kind_name or kind.kind
    qualified = f"{named}.{kind.group}" if kind.group else named
    return _invalid(qualified, name, kind.group, named, causes)


def invalid_update(kind: Kind, name: str, cause: Cause) -> ApiFailure:
    """The update is not allowed as asked for (422)."""
    return _invalid(kind.resource, name, kind.group, kind.plural, [cause])


def invalid_options(options: str, *causes: Cause) -> ApiFailure:
    """Parameters of the request break rules (422); `options` is such as `ListOptions`."""
    return _invalid(f"{options}.meta.k8s.io", "", "meta.k8s.io", options, causes)


def expired(asked: int, oldest: int) -> ApiFailure:
    """The watch history does not reach back to version `asked` (410)."""
    return ApiFailure(410, f"too old resource version: {asked} ({oldest})", "Expired")


def list_expired() -> ApiFailure:
    """The state that a list asks for is forgotten (410)."""
    return ApiFailure(410, "The resourceVersion for the provided list is too old.", "Expired")


def continue_expired(token: str) -> ApiFailure:
    """The state whose list was to go on is forgotten (410); with `token` it can go on in the state of now."""
    failure = ApiFailure(
        410,
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
        "modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        "Expired",
    )
    failure.body["metadata"] = {"continue": token}
    return failure


def too_large_version(asked: int, current: int) -> ApiFailure:
    """Nothing of a version as new as `asked` has been written yet (504)."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return ApiFailure(504, message, "Timeout", details)


def method_not_allowed(kind: Kind | None, verb: str) -> ApiFailure:
    """The resource has no such verb (405)."""
    if kind is not None and kind.custom:
        message = f'{verb} is not supported on resources of kind "{kind.resource}"'
        return ApiFailure(405, message, "MethodNotAllowed", {"group": kind.group, "kind": kind.plural})
    message = "the server does not allow this method on the requested resource"
    return ApiFailure(405, message, "MethodNotAllowed", {})


def not_acceptable(accepted: str) -> ApiFailure:
    """The client takes none of the media types that there are (406)."""
    return ApiFailure(406, f"only the following media types are accepted: {accepted}", "NotAcceptable")


def too_large(limit: int) -> ApiFailure:
    """The request's body is longer than `limit` bytes (413)."""
    return ApiFailure(413, f"Request entity too large: limit is {limit}", "RequestEntityTooLarge")


def body_overdue() -> ApiFailure:
    """The request's body did not come in time (504)."""
    problem = "Timeout: request did not complete within requested timeout - context deadline exceeded"
    return ApiFailure(504, problem, "Timeout", {})


def unsupported_media_type(message: str, details: Mapping[str, Any] | None = None) -> ApiFailure:
    """The request's body is of a media type that is not read (415)."""
    return ApiFailure(415, message, "UnsupportedMediaType", details)


def _details(kind: Kind, name: str) -> dict[str, Any]:
    return {"name": name, **({"group": kind.group} if kind.group else {}), "kind": kind.plural}


def _invalid(subject: str, name: str, group: str, kind_name: str, causes: Sequence[Cause]) -> ApiFailure:
    problems = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    details = {
        **({"name": name} if name else {}),
        **({"group": group} if group else {}),
        "kind": kind_name,
        "causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes],
    }
    return ApiFailure(422, f"{subject} {go_quoted(name)} is invalid: {text}", "Invalid", details)
