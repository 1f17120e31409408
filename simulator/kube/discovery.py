"""How a client learns what is served: versions, groups and resources, in the old form and in the aggregated one."""

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from simulator.kube.kinds import CUSTOM_RESOURCE_DEFINITION, Kind, Object
from simulator.kube.registry import Registry, Served, Subresource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""The media type of the aggregated form."""

VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2+gpuunit-sim",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "",
}
"""The release whose behaviour is imitated."""

_GROUP_ORDER = (
    *("apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch"),
    *("certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io"),
    *("admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io"),
)
"""The built-in groups in the order of the real server; others come after them, by name."""
_VERSION_FORM = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_STAGES = {None: 2, "beta": 1, "alpha": 0}
_HASH_BYTES = 8
_STORED_AS = {CUSTOM_RESOURCE_DEFINITION: "v1beta1"}
"""Kinds that the real server stores in another version than it serves."""


def document(path: str, registry: Registry, address: str = "") -> Object | None:
    """The discovery document at `path` (`/version`, `/api`, `/apis`, `/api/v1`, `/apis/<group>[/<version>]`).

    `address` is host and port under which clients reach the server. None for other paths.
    """
    match path.strip("/").split("/"):
        case ["version"]:
            return dict(VERSION)
        case ["api"]:
            addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}
        case ["api", version]:
            return _resource_list(registry, "", version)
        case ["apis"]:
            groups = [_group(registry, group) for group in _groups(registry)]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", group] if group in _groups(registry):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(registry, group)}
        case ["apis", group, version]:
            return _resource_list(registry, group, version)
    return None


def aggregated(path: str, registry: Registry) -> Object | None:
    """Everything below `/api` or `/apis` in one document; None for other paths, which do not have that form."""
    match path.strip("/"):
        case "api":
            items = [_aggregated_group(registry, "")]
        case "apis":
            items = [_aggregated_group(registry, group) for group in _groups(registry)]
        case _:
            return None
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def wants_aggregated(accept: str) -> bool:
    """Whether the first form that the client accepts, and that there is, is the aggregated one."""
    for choice in accept.split(","):
        media_type, *parameters = (part.strip() for part in choice.split(";"))
        wanted = dict(parameter.partition("=")[::2] for parameter in parameters)
        if wanted.get("as") == "APIGroupDiscoveryList":
            if media_type == "application/json" and (wanted.get("g"), wanted.get("v")) == ("apidiscovery.k8s.io", "v2"):
                return True
        elif media_type in ("application/json", "application/*", "*/*"):
            return False
    return False


def entity_tag(body: Object) -> str:
    """The `ETag` of an aggregated document, by which a client that has it asks for a newer one only."""
    return f'"{hashlib.sha512(msgspec.json.encode(body)).hexdigest().upper()}"'


def built_in_groups(registry: Registry) -> set[str]:
    """The groups that no CustomResourceDefinition made."""
    return {served.kind.group for served in registry if not served.kind.custom}


def _groups(registry: Registry) -> list[str]:
    def place(group: str) -> tuple[int, str]:
        return (_GROUP_ORDER.index(group) if group in _GROUP_ORDER else len(_GROUP_ORDER), group)

    return sorted({served.kind.group for served in registry if served.kind.group}, key=place)


def _versions(registry: Registry, group: str) -> list[str]:
    versions = {served.kind.version for served in registry if served.kind.group == group}
    return sorted(versions, key=_maturity, reverse=True)


def _maturity(version: str) -> tuple[int, int, int, int]:
    """What a version is sorted by: final before beta before alpha, then by its numbers; others last."""
    match = _VERSION_FORM.fullmatch(version)
    if match is None:
        return (0, 0, 0, 0)
    return (1, _STAGES[match[2]], int(match[1]), int(match[3] or 0))


def _group(registry: Registry, group: str) -> Object:
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in _versions(registry, group)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _resources(registry: Registry, group: str, version: str) -> list[Served]:
    served = [served for served in registry if (served.kind.group, served.kind.version) == (group, version)]
    return sorted(served, key=lambda resource: resource.kind.plural)


def _resource_list(registry: Registry, group: str, version: str) -> Object | None:
    resources = _resources(registry, group, version)
    if not resources:
        return None
    return {
        "kind": "APIResourceList",
        **({"apiVersion": "v1"} if group else {}),
        "groupVersion": resources[0].kind.api_version,
        "resources": [entry for served in resources for entry in _entries(served)],
    }


def _entries(served: Served) -> Iterable[Object]:
    kind = served.kind
    yield {
        "name": kind.plural,
        "singularName": served.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(served.verbs),
        **_names(served),
        **({"storageVersionHash": _storage_hash(served.storage)} if served.is_stored else {}),
    }
    for subresource in served.subresources:
        yield {
            "name": f"{kind.plural}/{subresource.name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            **({"group": subresource.group, "version": subresource.version} if subresource.group else {}),
            "kind": subresource.kind,
            "verbs": list(subresource.verbs),
        }


def _names(served: Served) -> Object:
    return {
        **({"shortNames": list(served.kind.short_names)} if served.kind.short_names else {}),
        **({"categories": list(served.categories)} if served.categories else {}),
    }


def _storage_hash(kind: Kind) -> str:
    """By which a client can tell that objects are stored in another version than before."""
    version = _STORED_AS.get(kind, kind.version)
    digest = hashlib.sha256(f"{kind.group}/{version}/{kind.kind}".encode()).digest()
    return base64.b64encode(digest[:_HASH_BYTES]).decode()


def _aggregated_group(registry: Registry, group: str) -> Object:
    return {
        "metadata": {"name": group} if group else {},
        "versions": [
            {
                "version": version,
                "resources": [_aggregated_resource(served) for served in _resources(registry, group, version)],
                "freshness": "Current",
            }
            for version in _versions(registry, group)
        ],
    }


def _aggregated_resource(served: Served) -> Object:
    kind = served.kind
    subresources = [
        {
            "subresource": subresource.name,
            "responseKind": _response_kind(kind, subresource),
            "verbs": list(subresource.verbs),
        }
        for subresource in served.subresources
    ]
    return {
        "resource": kind.plural,
        "responseKind": _response_kind(kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": served.singular,
        "verbs": list(served.verbs),
        **_names(served),
        **({"subresources": subresources} if subresources else {}),
    }


def _response_kind(kind: Kind, subresource: Subresource | None = None) -> dict[str, Any]:
    """Of which kind the answer is; built-in kinds leave out that it is of their own group."""
    group, version = (kind.group, kind.version) if kind.custom else ("", "")
    if subresource is None:
        return {"group": group, "version": version, "kind": kind.kind}
    if subresource.group:
        group, version = subresource.group, subresource.version
    return {"group": group, "version": version, "kind": subresource.kind}
