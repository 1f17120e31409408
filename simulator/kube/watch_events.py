"""The events of a watch as lines of JSON, in the form that the client wants."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from simulator.kube.history import Change
from simulator.kube.kinds import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CUSTOM_RESOURCE_DEFINITION,
    DEPLOYMENT,
    EVENT,
    LEASE,
    NAMESPACE,
    NETWORK_POLICY,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_DISRUPTION_BUDGET,
    REPLICA_SET,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
)
from simulator.kube.negotiation import Form
from simulator.kube.registry import Column
from simulator.kube.selectors import Selector
from simulator.kube.status import ApiFailure
from simulator.kube.tables.table import Include, partial, table

_TEMPLATE: Object = {"metadata": {}, "spec": {"containers": None}}
_ROLE_REF: Object = {"roleRef": {"apiGroup": "", "kind": "", "name": ""}}
_NODE_INFO = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)
_NAMES: Object = {"plural": "", "kind": ""}
_BLANK: Mapping[Kind, Object] = {
    POD: {"spec": {"containers": None}, "status": {}},
    SERVICE: {"spec": {}, "status": {"loadBalancer": {}}},
    EVENT: {
        "involvedObject": {},
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
        "eventTime": None,
        "reportingComponent": "",
        "reportingInstance": "",
    },
    NAMESPACE: {"spec": {}, "status": {}},
    NODE: {
        "spec": {},
        "status": {
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": dict.fromkeys(_NODE_INFO, ""),
        },
    },
    PERSISTENT_VOLUME_CLAIM: {"spec": {"resources": {}}, "status": {}},
    DEPLOYMENT: {"spec": {"replicas": 0, "selector": None, "template": _TEMPLATE, "strategy": {}}, "status": {}},
    REPLICA_SET: {"spec": {"replicas": 0, "selector": None, "template": _TEMPLATE}, "status": {"replicas": 0}},
    STATEFUL_SET: {
        "spec": {"replicas": 0, "selector": None, "template": _TEMPLATE, "serviceName": "", "updateStrategy": {}},
        "status": {"replicas": 0, "availableReplicas": 0},
    },
    LEASE: {"spec": {}},
    ROLE: {"rules": None},
    ROLE_BINDING: _ROLE_REF,
    CLUSTER_ROLE: {"rules": None},
    CLUSTER_ROLE_BINDING: _ROLE_REF,
    CUSTOM_RESOURCE_DEFINITION: {
        "spec": {"group": "", "names": _NAMES, "scope": "", "versions": None},
        "status": {"conditions": None, "acceptedNames": _NAMES, "storedVersions": None},
    },
    NETWORK_POLICY: {"spec": {"podSelector": {}}},
    POD_DISRUPTION_BUDGET: {
        "spec": {},
        "status": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0},
    },
}
"""What the real server writes of an object of which nothing is set."""


class EventWriter:
    """Writes the events of one watch.

    What it writes of a change it keeps there, for the other watches that want the same.
    """

    def __init__(
        self,
        kind: Kind,
        form: Form | None = None,
        *,
        include: Include = "Metadata",
        columns: Sequence[Column] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`include` and `columns` are for tables: see `tables.table`."""
        self._kind = kind
        self._form = form or Form()
        self._include = include
        self._columns = tuple(columns)
        self._now = now
        self._headers_due = self._form.shape == "Table"  # the columns are described in the first event alone
        self._key = repr((kind.api_version, self._form, include, self._columns))

    def change(self, change: Change, selector: Selector, namespace: str | None) -> bytes:
        """The event of a change for a watch of this selection; empty when it is not concerned."""
        event = change.seen_through(selector, namespace)
        if event is None:
            return b""
        key = (self._key, self._headers_due, event[0])
        line = change.lines.get(key)
        if line is None:
            line = change.lines[key] = self._written(*event)
        self._headers_due = False
        return line

    def initial(self, obj: Object) -> bytes:
        """The event of an object that was there when the watch began."""
        line = self._written("ADDED", obj)
        self._headers_due = False
        return line

    def bookmark(self, version: int, *, end_of_initial: bool = False) -> bytes:
        """The event that says that everything up to `version` has been sent, perhaps for the first time."""
        metadata: Object = {"resourceVersion": str(version)}
        if end_of_initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        blank = _BLANK.get(self._kind, {})
        obj = {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": metadata, **blank}
        line = self._written("BOOKMARK", obj)
        self._headers_due = False
        return line

    def _written(self, event_type: str, obj: Object) -> bytes:
        form, obj = self._form, self._kind.shown(obj)
        if form.shape == "PartialObjectMetadataList":
            return b""  # an object is no list; the real server fails to write the event, and writes none
        if form.shape == "PartialObjectMetadata":
            obj = partial(obj, form.api_version)
        elif form.shape == "Table":
            obj = table(
                self._kind,
                [obj],
                {"resourceVersion": obj["metadata"]["resourceVersion"]},
                self._now(),
                include=self._include,
                columns=self._columns,
                headers=self._headers_due,
                api_version=form.api_version,
            )
        return _line(event_type, obj)


def error_event(failure: ApiFailure) -> bytes:
    """The stream of a watch that fails at once, which is how the real server says that a version is too old."""
    return _line("ERROR", failure.body)


def _line(event_type: str, obj: Object) -> bytes:
    return msgspec.json.encode({"type": event_type, "object": obj}) + b"\n"
