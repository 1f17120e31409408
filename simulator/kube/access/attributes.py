"""What a request wants to do, in the terms in which rights are granted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

RESOURCE_VERBS: Final = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
"""By method, for a request that names an object; one that names none lists, watches or deletes a collection."""

_PREFIXED_VERBS: Final = ("proxy", "watch")
_OF_NAMESPACES: Final = ("status", "finalize")


class UnreadablePathError(ValueError):
    """The path is of a form that promises a resource and names none."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """A verb on a resource, or (with an empty `resource`) on a path such as `/version`.

    `verb` is `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`, and the HTTP method
    in lower case for a path. `namespace` is empty at the cluster scope, `name` where the request names no object.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def attributes_of(method: str, path: str, query: Mapping[str, str]) -> Attributes:
    """What a request asks for, whether or not its resource is served.

    As in the real server only the path's form counts: nobody learns what exists by asking for what he may not see.

    Raises:
        UnreadablePathError: such as `/api/v1/watch`.
    """
    match path.strip("/").split("/"):
        case ["api", _, *rest] if rest:
            group = ""
        case ["apis", group, _, *rest] if rest:
            pass
        case _:
            return Attributes(method.lower(), path=path)
    verb = RESOURCE_VERBS.get(method, "")
    if rest[0] in _PREFIXED_VERBS:
        if len(rest) < 2:
            raise UnreadablePathError(f"unable to determine kind and namespace from url, {path}")
        verb, *rest = rest
    namespace, (resource, *below) = _scoped(rest)
    name = below[0] if below else ""
    subresource = below[1] if len(below) > 1 and verb != "proxy" else ""
    if not name and verb == "get":
        verb, name = ("watch" if wants_watch(query) else "list"), _only_name(query.get("fieldSelector", ""))
    if not name and verb == "delete":
        verb = "deletecollection"
    return Attributes(verb, group, resource, subresource, namespace, name, path)


def wants_watch(query: Mapping[str, str]) -> bool:
    """Whether a GET of a collection asks for its changes."""
    return query.get("watch", "false").lower() not in ("false", "0")


def _scoped(parts: list[str]) -> tuple[str, list[str]]:
    """The namespace, and the path below it; an object of the kind Namespace is in its own."""
    match parts:
        case ["namespaces", namespace, kind, *_] if kind not in _OF_NAMESPACES:
            return namespace, parts[2:]
        case ["namespaces", namespace, *_]:
            return namespace, parts
    return "", parts


def _only_name(field_selector: str) -> str:
    """The one name that a field selector admits, "" if there is no such name."""
    for term in field_selector.split(","):
        field, _, value = term.partition("=")
        name = value.removeprefix("=")
        if field == "metadata.name" and name not in ("", ".", "..") and not set("/%\\") & set(name):
            return name
    return ""
