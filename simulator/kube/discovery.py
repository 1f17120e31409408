"""How a client learns what is served: versions, groups, resources and health."""

from collections.abc import Iterable
from typing import Any

from simulator.kube.kinds import Kind

_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_STATUS_VERBS = ["get", "patch", "update"]

VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2+gpuunit-sim",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "",
}
"""The release whose behaviour is imitated."""


def document(path: str, kinds: Iterable[Kind]) -> dict[str, Any] | None:
    """The discovery document at `path` (`/api`, `/apis`, `/api/v1`, `/apis/<group>[/<version>]`), None for others."""
    kinds = list(kinds)
    match path.strip("/").split("/"):
        case ["version"]:
            return dict(VERSION)
        case ["api"]:
            return {"kind": "APIVersions", "versions": _versions(kinds, ""), "serverAddressByClientCIDRs": []}
        case ["api", version]:
            return _resource_list(kinds, "", version)
        case ["apis"]:
            groups = [_group(kinds, group) for group in dict.fromkeys(kind.group for kind in kinds) if group]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", group] if _versions(kinds, group):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(kinds, group)}
        case ["apis", group, version]:
            return _resource_list(kinds, group, version)
    return None


def _versions(kinds: list[Kind], group: str) -> list[str]:
    return list(dict.fromkeys(kind.version for kind in kinds if kind.group == group))


def _group(kinds: list[Kind], group: str) -> dict[str, Any]:
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in _versions(kinds, group)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _resource_list(kinds: list[Kind], group: str, version: str) -> dict[str, Any] | None:
    served = [kind for kind in kinds if (kind.group, kind.version) == (group, version)]
    if not served:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": served[0].api_version,
        "resources": [entry for kind in served for entry in _resources(kind)],
    }


def _resources(kind: Kind) -> list[dict[str, Any]]:
    main = {
        "name": kind.plural,
        "singularName": kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _VERBS,
        **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
    }
    if not kind.has_status:
        return [main]
    status = {
        "name": f"{kind.plural}/status",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _STATUS_VERBS,
    }
    return [main, status]
