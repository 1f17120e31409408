"""The OpenAPI documents: what `kubectl explain` shows, and where kubectl learns how it may validate and patch."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from simulator.kube.kinds import Kind, Object
from simulator.kube.registry import Registry, Served
from simulator.kube.schema.builtin import GROUP_VERSION_KIND, definition_names, definitions
from simulator.kube.schema.load import REFERENCE
from simulator.kube.schema.openapi_paths import META, SCALE, resource_paths

_CRD_INFO = {"title": "Kubernetes CRD Swagger", "version": "v0.1.0"}
_INFO = {"title": "Kubernetes", "version": "1.36"}
_CONVENTIONS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
_METADATA = f"Standard object's metadata. More info: {_CONVENTIONS}#metadata"
_LIST_METADATA = f"Standard list metadata. More info: {_CONVENTIONS}#types-kinds"
_BODIES = ("DeleteOptions", "ListMeta", "Patch", "Status")


def index(registry: Registry) -> Object:
    """The document at `/openapi/v3`: where the document of each group and version is, with a hash of its content."""
    paths = {
        name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={content_hash(name, registry)}"}
        for name in _document_names(registry)
    }
    return {"paths": paths}


def content_hash(name: str, registry: Registry) -> str:
    """What changes when a document does; between quotes it is the document's `ETag`."""
    resources = [served for served in registry if _path(served.kind) == name]
    content = [(name, repr(served.kind), served.verbs, served.published) for served in resources]
    return hashlib.sha512(msgspec.json.encode(content)).hexdigest().upper()


def document(name: str, registry: Registry) -> Object | None:
    """The document at `/openapi/v3/<name>`, such as `apis/apps/v1`; None if there is none of that name."""
    if name not in _document_names(registry):
        return None
    resources = [served for served in registry if _path(served.kind) == name]
    if not resources:
        return {"openapi": "3.0.0", "info": _INFO, "paths": {}, "components": {"schemas": {}}}
    schemas: Object = {}
    paths: Object = {}
    for served in sorted(resources, key=lambda served: served.kind.plural):
        object_name, list_name = _add_schemas(served, schemas)
        paths |= resource_paths(served, object_name, list_name)
    roots = [f"{META}.{body}" for body in _BODIES]
    if any(served.subresource("scale") for served in resources):
        roots.append(SCALE)
    schemas |= _with_references([*roots, *_references(schemas)])
    return {
        "openapi": "3.0.0",
        "info": _CRD_INFO if resources[0].kind.custom else _INFO,
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def version_2(registry: Registry) -> Object:
    """The document at `/openapi/v2`, for clients that know no later form: the definitions, without operations."""
    schemas: Object = {}
    for served in registry:
        _add_schemas(served, schemas)
    schemas |= _with_references(_references(schemas))
    text = msgspec.json.encode(dict(sorted(schemas.items()))).replace(REFERENCE.encode(), b"#/definitions/")
    definitions = {name: _with_plain_references(schema) for name, schema in msgspec.json.decode(text).items()}
    return {"swagger": "2.0", "info": _INFO, "paths": {}, "definitions": definitions}


def _with_plain_references(schema: Object) -> Object:
    """The schema with its references as version 2 has them: beside a description, and not in a list of their own."""
    plain = {name: value for name, value in schema.items() if name != "allOf"}
    for part in schema.get("allOf", ()):
        plain |= part
    if "properties" in plain:
        plain["properties"] = {name: _with_plain_references(field) for name, field in plain["properties"].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(plain.get(name), dict):
            plain[name] = _with_plain_references(plain[name])
    return plain


def _document_names(registry: Registry) -> list[str]:
    names = {"api", "apis", "version"}
    for served in registry:
        names.add(_path(served.kind))
        if served.kind.group and not served.kind.custom:
            names.add(f"apis/{served.kind.group}")
    return sorted(names)


def _path(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


def _add_schemas(served: Served, schemas: Object) -> tuple[str, str]:
    """Add the schemas of a resource and of its list; return their names."""
    kind = served.kind
    if kind.custom:
        package = ".".join([*reversed(kind.group.split(".")), kind.version])
        name, list_name = f"{package}.{kind.kind}", f"{package}.{served.list_kind}"
        schemas[name] = _custom_schema(served)
        schemas[list_name] = _custom_list_schema(served, name)
        return name, list_name
    name = definition_names()[kind.group, kind.version, kind.kind]
    for needed in (name, f"{name}List") if served.is_stored else (name,):
        schemas[needed] = definitions().raw[needed]
    return name, f"{name}List"


def _custom_schema(served: Served) -> Object:
    published = dict(served.published or {"type": "object"})
    properties = {
        **(published.get("properties") or {}),
        **_type_properties(),
        "metadata": {"description": _METADATA, "allOf": [{"$ref": f"{REFERENCE}{META}.ObjectMeta"}]},
    }
    if served.published is None or published.get("x-kubernetes-preserve-unknown-fields"):
        published["x-kubernetes-preserve-unknown-fields"] = True
    return {**published, "properties": dict(sorted(properties.items())), GROUP_VERSION_KIND: [_named(served.kind)]}


def _custom_list_schema(served: Served, definition: str) -> Object:
    kind = served.kind
    return {
        "description": f"{served.list_kind} is a list of {kind.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            **_type_properties(),
            "items": {
                "description": f"List of {kind.plural}. More info: {_CONVENTIONS}",
                "type": "array",
                "items": {"$ref": f"{REFERENCE}{definition}"},
            },
            "metadata": {"description": _LIST_METADATA, "allOf": [{"$ref": f"{REFERENCE}{META}.ListMeta"}]},
        },
        GROUP_VERSION_KIND: [{**_named(kind), "kind": served.list_kind}],
    }


def _named(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "kind": kind.kind, "version": kind.version}


def _type_properties() -> Object:
    """`apiVersion` and `kind`, described as those of every object are."""
    described: Object = definitions().raw[f"{META}.Status"]["properties"]
    return {name: described[name] for name in ("apiVersion", "kind")}


def _with_references(names: Iterable[str]) -> dict[str, Any]:
    """The built-in definitions of these names and those that they refer to."""
    raw = definitions().raw
    found: dict[str, Any] = {}
    waiting = [name for name in names if name in raw]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = raw[name]
            waiting.extend(_references(raw[name]))
    return found


def _references(schema: Any) -> Iterator[str]:
    """The names of the definitions that a schema, or a collection of them, refers to."""
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(REFERENCE)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)
