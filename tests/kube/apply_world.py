"""What the tests of apply and patching share: our own kind's schema, times, and the fields of an object's managers."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

import simulator.kube
from simulator.kube.apply.applying import applied
from simulator.kube.apply.updating import record_update
from simulator.kube.kinds import DEPLOYMENT, GPUUNIT, Kind, Object
from simulator.kube.schema.builtin import builtin_schema
from simulator.kube.schema.load import schema_of_crd
from simulator.kube.schema.model import Schema

_CRD: Final = Path(simulator.kube.__file__).with_name("gpuunit-crd.yaml")
_VERSION: Final = yaml.safe_load(_CRD.read_text())["spec"]["versions"][0]
UNIT_SCHEMA: Final[Schema] = schema_of_crd(_VERSION["schema"]["openAPIV3Schema"])
NOW: Final = datetime(2030, 1, 1, tzinfo=UTC)


def schema_of(kind: Kind) -> Schema:
    return UNIT_SCHEMA if kind == GPUUNIT else builtin_schema(kind)


def unit(spec: Any, **metadata: Any) -> Object:
    return {
        "apiVersion": GPUUNIT.api_version,
        "kind": GPUUNIT.kind,
        "metadata": {"name": "u1", **metadata},
        "spec": spec,
    }


def deployment(*containers: Object, **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": list(containers)}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d1"},
        "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template, **spec},
    }


def apply(old: Object | None, config: Object, manager: str = "one", *, force: bool = False, sub: str = "") -> Object:
    kind = GPUUNIT if config["kind"] == GPUUNIT.kind else DEPLOYMENT
    new = applied(kind, schema_of(kind), old, config, manager=manager, force=force, subresource=sub, now=NOW)
    return stored(new)


def update(old: Object | None, new: Object, manager: str, *, sub: str = "") -> Object:
    kind = GPUUNIT if new["kind"] == GPUUNIT.kind else DEPLOYMENT
    entries = record_update(kind, schema_of(kind), old, new, manager=manager, subresource=sub, now=NOW)
    return stored({**new, "metadata": {**new["metadata"], "managedFields": entries}})


def stored(obj: Object) -> Object:
    """The object as the server keeps it."""
    return {**obj, "metadata": {**obj["metadata"], "uid": "uid-1"}}


def managers(obj: Object) -> dict[str, Any]:
    """The fields of each manager."""
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", [])}
