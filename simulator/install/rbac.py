"""Who may do what in the cluster: a service account for each part, and no more rights than its calls need."""

from typing import Final

from simulator.install.names import ISSUER, PARTS, RECONCILER, Part, labels
from simulator.install.objects import framed
from simulator.install.settings import InstallSettings
from simulator.kube.access.default_roles import rule
from simulator.kube.access.platform_roles import ROLE_PREFIX, platform_access
from simulator.kube.kinds import CLUSTER_ROLE, GPUUNIT, SERVICE_ACCOUNT, Object

_OWNERS: Final = frozenset({RECONCILER.name, ISSUER.name})
"""What they make blocks the deletion of the unit that owns it: some clusters ask for a right to say so."""
_PEOPLE: Final = "people"


def access_objects(settings: InstallSettings) -> list[Object]:
    """Service accounts, roles and their bindings. Kubelet and controllers are the cluster's own."""
    parts = {part.name: part for part in PARTS}
    accounts = [_account(part, settings.namespace) for part in PARTS]
    roles = []
    for _kind, obj in platform_access(settings.namespace):
        name = obj["metadata"]["name"].removeprefix(ROLE_PREFIX)
        if name in parts or name.startswith("units-"):
            roles.append(_ours(obj, name if name in parts else _PEOPLE))
    return [*accounts, *roles]


def _account(part: Part, namespace: str) -> Object:
    return framed(SERVICE_ACCOUNT, part.account, part.name, namespace, automountServiceAccountToken=False)


def _ours(obj: Object, of: str) -> Object:
    metadata = {**obj["metadata"], "labels": {**(obj["metadata"].get("labels") or {}), **labels(of)}}
    if obj["kind"] == CLUSTER_ROLE.kind and of in _OWNERS:
        obj = {**obj, "rules": [*obj["rules"], rule(["update"], [GPUUNIT.group], [f"{GPUUNIT.plural}/finalizers"])]}
    return {**obj, "metadata": metadata}
