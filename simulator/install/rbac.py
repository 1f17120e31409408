"""Who may do what in the cluster: a service account for each part, and no more rights than its calls need."""

from typing import Final

from simulator.install.names import PARTS, Part, labels
from simulator.install.objects import framed
from simulator.install.settings import InstallSettings
from simulator.kube.access import platform_roles
from simulator.kube.kinds import SERVICE_ACCOUNT, Object

_PEOPLE: Final = "people"


def access_objects(settings: InstallSettings) -> list[Object]:
    """Service accounts, roles and their bindings. Kubelet and controllers are the cluster's own."""
    accounts = [_account(part, settings.namespace) for part in PARTS]
    roles = [
        _labelled(obj, part.name)
        for part in PARTS
        if part.uses_cluster
        for _kind, obj in platform_roles.part_access(platform_roles.Part(part.name), settings.namespace)
    ]
    people = [_labelled(obj, _PEOPLE) for _kind, obj in platform_roles.people_access()]
    return [*accounts, *roles, *people]


def _account(part: Part, namespace: str) -> Object:
    return framed(SERVICE_ACCOUNT, part.account, part.name, namespace, automountServiceAccountToken=False)


def _labelled(obj: Object, of: str) -> Object:
    metadata = {**obj["metadata"], "labels": {**(obj["metadata"].get("labels") or {}), **labels(of)}}
    return {**obj, "metadata": metadata}
