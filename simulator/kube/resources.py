"""The built-in kinds as resources that can be served: their verbs and subresources."""

from functools import partial

from simulator.kube.kinds import NAMESPACE, NODE, POD, SERVICE, Kind
from simulator.kube.registry import Served, Subresource
from simulator.kube.schema.builtin import builtin_schema

_ALL_BUT_COLLECTIONS = ("create", "delete", "get", "list", "patch", "update", "watch")
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
READ_AND_WRITE = ("get", "patch", "update")
_PROXY = ("create", "delete", "get", "patch", "update")
_STREAM = ("create", "get")

_FURTHER = {
    NAMESPACE: (Subresource("finalize", "Namespace", ("update",)),),
    NODE: (Subresource("proxy", "NodeProxyOptions", _PROXY),),
    POD: (
        Subresource("attach", "PodAttachOptions", _STREAM),
        Subresource("binding", "Binding", ("create",)),
        Subresource("ephemeralcontainers", "Pod", READ_AND_WRITE),
        Subresource("eviction", "Eviction", ("create",), "policy", "v1"),
        Subresource("exec", "PodExecOptions", _STREAM),
        Subresource("log", "Pod", ("get",)),
        Subresource("portforward", "PodPortForwardOptions", _STREAM),
        Subresource("proxy", "PodProxyOptions", _PROXY),
        Subresource("resize", "Pod", READ_AND_WRITE),
    ),
    SERVICE: (Subresource("proxy", "ServiceProxyOptions", _PROXY),),
}
"""Subresources beside `status` and `scale`."""


def served_builtin(kind: Kind) -> Served:
    """The resource of a built-in kind."""
    subresources = list(_FURTHER.get(kind, ()))
    if kind.has_status:
        subresources.append(Subresource("status", kind.kind, READ_AND_WRITE))
    if kind.has_scale:
        subresources.append(Subresource("scale", "Scale", READ_AND_WRITE, "autoscaling", "v1"))
    return Served(
        kind=kind,
        storage=kind,
        load=partial(builtin_schema, kind),
        singular=kind.kind.lower(),
        list_kind=f"{kind.kind}List",
        verbs=_ALL_BUT_COLLECTIONS if kind == NAMESPACE else VERBS,
        categories=kind.categories,
        subresources=tuple(sorted(subresources, key=lambda subresource: subresource.name)),
    )
