"""Makes the package's data about built-in kinds, two files, from the sources of a Kubernetes release.

    python -m simulator.kube.schema.compile OPENAPI_DIRECTORY GO_MODULES

OPENAPI_DIRECTORY is `api/openapi-spec/v3` of the release; GO_MODULES holds its modules `api`, `apimachinery` and
`apiextensions-apiserver` (`k8s.io` of a Go module cache). Run it when another kind is to be served or another release
to be imitated.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from simulator.kube.kinds import ALL_KINDS
from simulator.kube.schema import protobuf_messages
from simulator.kube.schema.builtin import DATA, names_of_kinds
from simulator.kube.schema.go_messages import go_messages
from simulator.kube.schema.go_types import Field, registered_kinds, struct_fields
from simulator.kube.schema.load import REFERENCE

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_BODIES = (
    ("", "Binding"),
    ("apps", "ControllerRevision"),
    ("authentication.k8s.io", "SelfSubjectReview"),
    ("authentication.k8s.io", "TokenRequest"),
    ("authentication.k8s.io", "TokenReview"),
    ("authorization.k8s.io", "LocalSubjectAccessReview"),
    ("authorization.k8s.io", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "SelfSubjectRulesReview"),
    ("authorization.k8s.io", "SubjectAccessReview"),
    ("autoscaling", "Scale"),
    ("policy", "Eviction"),
)
"""Groups and kinds, all of version v1, of bodies that are not stored."""
_ALWAYS = tuple(f"{_META}.{name}" for name in ("DeleteOptions", "ListMeta", "Patch", "Status", "WatchEvent"))


def main(openapi_directory: Path, go_modules: Path) -> None:
    """Write the data files anew."""
    published = _published(openapi_directory)
    by_kind = names_of_kinds(published)
    served = [(kind.group, kind.version, kind.kind) for kind in ALL_KINDS if not kind.custom]
    roots = [by_kind[entry] for entry in (*served, *((group, "v1", kind) for group, kind in _BODIES))]
    lists = [f"{root}List" for root in roots if f"{root}List" in published]
    schemas = {name: published[name] for name in _reachable(published, [*roots, *lists, *_ALWAYS])}
    go = {name: fields for name in schemas if (fields := struct_fields(go_modules, name))}
    DATA.write_text(_one_entry_a_line(schemas, go, registered_kinds(go_modules)))
    messages = go_messages(go_modules, [*roots, f"{_META}.DeleteOptions"])
    lines = {name: [_trimmed(msgspec.to_builtins(field)) for field in fields] for name, fields in messages.items()}
    protobuf_messages.DATA.write_text(_object_of_lines(lines) + "\n")


def _published(directory: Path) -> dict[str, Any]:
    """All definitions of the release."""
    documents = [json.loads(path.read_text()) for path in sorted(directory.glob("*_openapi.json"))]
    # That of the core group wins: in the others DeleteOptions and WatchEvent are of their group too.
    return {name: schema for document in reversed(documents) for name, schema in _schemas(document).items()}


def _schemas(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document.get("components", {}).get("schemas", {})
    return found


def _reachable(published: dict[str, Any], roots: Iterable[str]) -> list[str]:
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_references(published[name]))
    return sorted(found)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix(REFERENCE)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _one_entry_a_line(
    schemas: dict[str, Any], go: dict[str, dict[str, Field]], registered: dict[str, list[str]]
) -> str:
    """The data as JSON of which a comparison of versions can be read."""
    parts: dict[str, dict[str, Any]] = {
        "schemas": schemas,
        "go": {name: {key: _shortest(field) for key, field in fields.items()} for name, fields in go.items()},
        "registered": registered,
    }
    blocks = [f"{json.dumps(part)}:{_object_of_lines(entries)}" for part, entries in parts.items()]
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def _object_of_lines(entries: dict[str, Any]) -> str:
    lines = [f"{json.dumps(name)}:{json.dumps(entry, separators=(',', ':'))}" for name, entry in entries.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def _shortest(field: Field) -> list[str]:
    return _trimmed([field.type, field.flags, field.underlying, field.embedded])


def _trimmed(values: list[str]) -> list[str]:
    """The values but for empty ones at the end."""
    while not values[-1]:
        values.pop()
    return values


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
