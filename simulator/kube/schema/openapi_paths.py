"""The operations of a resource as an OpenAPI v3 document lists them; kubectl reads them to learn what it may send."""

from collections.abc import Sequence
from typing import Any

from simulator.kube.kinds import Kind, Object
from simulator.kube.registry import Served
from simulator.kube.schema.load import REFERENCE

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
SCALE = "io.k8s.api.autoscaling.v1.Scale"

_LIST = (
    *("allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion"),
    *("resourceVersionMatch", "sendInitialEvents", "shardSelector", "timeoutSeconds", "watch"),
)
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_DELETE = (
    *("dryRun", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential", "orphanDependents"),
    "propagationPolicy",
)
_PATCHES = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json")
_STRATEGIC = "application/strategic-merge-patch+json"
_TYPES = {
    **dict.fromkeys(("allowWatchBookmarks", "sendInitialEvents", "watch", "force", "orphanDependents"), "boolean"),
    "ignoreStoreReadErrorWithClusterBreakingPotential": "boolean",
    **dict.fromkeys(("limit", "timeoutSeconds", "gracePeriodSeconds"), "integer"),
}
_TOLD = {"200": "OK", "201": "Created", "202": "Accepted"}


def resource_paths(served: Served, definition: str, list_definition: str) -> Object:
    """The paths of a resource with their operations; the definitions are those of the object and of its list."""
    kind = served.kind
    writer = _Writer(served)
    base = f"/api/{kind.version}" if not kind.group else f"/apis/{kind.group}/{kind.version}"
    inside = f"{base}/namespaces/{{namespace}}" if kind.namespaced else base
    common = ("namespace", "pretty") if kind.namespaced else ("pretty",)
    paths = {}
    if not served.is_stored:
        return {f"{inside}/{kind.plural}": {"post": writer.create(definition), "parameters": _parameters(common)}}
    if kind.namespaced:
        everywhere = writer.operation("get", "list", "ForAllNamespaces", list_definition)
        paths[f"{base}/{kind.plural}"] = {"get": everywhere, "parameters": _parameters(sorted([*_LIST, "pretty"]))}
    paths[f"{inside}/{kind.plural}"] = {
        **writer.collection(definition, list_definition),
        "parameters": _parameters(common),
    }
    item = f"{inside}/{kind.plural}/{{name}}"
    paths[item] = {**writer.item(definition), "parameters": _parameters(("name", *common))}
    for name, body in (("status", definition), ("scale", SCALE)):
        if served.subresource(name) is not None:
            operations = writer.read_and_write(body, name.capitalize())
            paths[f"{item}/{name}"] = {**operations, "parameters": _parameters(("name", *common))}
    return paths


class _Writer:
    """Writes the operations of one resource."""

    def __init__(self, served: Served) -> None:
        self._served = served
        kind = served.kind
        self._answers: tuple[str, ...] = ("application/json", "application/yaml")
        self._bodies: tuple[str, ...] = self._answers
        self._patches: tuple[str, ...] = _PATCHES
        if not kind.custom:
            self._answers = ("application/json", "application/vnd.kubernetes.protobuf", "application/yaml")
            self._bodies = ("*/*",)
            self._patches = (*_PATCHES, _STRATEGIC)

    def collection(self, definition: str, list_definition: str) -> Object:
        operations = {
            "get": self.operation("get", "list", "", list_definition, _LIST),
            "post": self.create(definition),
        }
        if "deletecollection" in self._served.verbs:
            operations["delete"] = self.operation(
                "deletecollection", "deleteCollection", "", f"{META}.Status", _LIST, ""
            )
        return operations

    def create(self, definition: str) -> Object:
        return self.operation("post", "create", "", definition, _WRITE, definition, ("200", "201", "202"))

    def item(self, definition: str) -> Object:
        options = f"{META}.DeleteOptions"
        answer = f"{META}.Status"
        delete = self.operation("delete", "delete", "", answer, _DELETE, options, ("200", "202"))
        return {**self.read_and_write(definition, ""), "delete": delete}

    def read_and_write(self, body: str, suffix: str) -> Object:
        patch = self.operation("patch", "patch", suffix, body, (*_WRITE, "force"))
        schema = {"schema": {"$ref": f"{REFERENCE}{META}.Patch"}}
        patch["requestBody"] = {"content": dict.fromkeys(self._patches, schema), "required": True}
        return {
            "get": self.operation("get", "read", suffix, body, ("resourceVersion",)),
            "put": self.operation("put", "replace", suffix, body, _WRITE, body, ("200", "201")),
            "patch": patch,
        }

    def operation(
        self,
        action: str,
        verb: str,
        suffix: str,
        answer: str,
        parameters: Sequence[str] = (),
        body: str = "",
        codes: Sequence[str] = ("200",),
    ) -> Object:
        """One operation. `suffix` is of its name, for what is not the object itself; `body` is what is sent."""
        kind = self._served.kind
        listed = "list" if verb == "list" else action
        operation: Object = {
            "tags": [_tag(kind)],
            "operationId": _operation_id(kind, verb, suffix),
            "parameters": _parameters(parameters),
            "responses": {
                **{code: {"description": _TOLD[code], "content": self._content(answer)} for code in codes},
                "401": {"description": "Unauthorized"},
            },
            "x-kubernetes-action": listed,
            "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        }
        if body:
            content = {media_type: {"schema": {"$ref": f"{REFERENCE}{body}"}} for media_type in self._bodies}
            operation["requestBody"] = {"content": content, **({} if action == "delete" else {"required": True})}
        return operation

    def _content(self, definition: str) -> Object:
        return {media_type: {"schema": {"$ref": f"{REFERENCE}{definition}"}} for media_type in self._answers}


def _operation_id(kind: Kind, verb: str, suffix: str) -> str:
    group = kind.group if kind.custom else kind.group.removesuffix(".k8s.io")
    parts = "".join(part.capitalize() for part in group.split(".")) or "Core"
    verb, collection = ("delete", "Collection") if verb == "deleteCollection" else (verb, "")
    namespaced = "Namespaced" if kind.namespaced and suffix != "ForAllNamespaces" else ""
    return f"{verb}{parts}{kind.version.capitalize()}{collection}{namespaced}{kind.kind}{suffix}"


def _tag(kind: Kind) -> str:
    first, *others = (kind.group if kind.custom else kind.group.removesuffix(".k8s.io")).split(".")
    return f"{first or 'core'}{''.join(other.capitalize() for other in others)}_{kind.version}"


def _parameters(names: Sequence[str]) -> list[dict[str, Any]]:
    return [_parameter(name) for name in names]


def _parameter(name: str) -> dict[str, Any]:
    schema = {"type": _TYPES.get(name, "string"), "uniqueItems": True}
    if name in ("name", "namespace"):
        return {"name": name, "in": "path", "required": True, "schema": schema}
    return {"name": name, "in": "query", "schema": schema}
