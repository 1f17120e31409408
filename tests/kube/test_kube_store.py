"""The rules of the store, without HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from simulator.kube.deletion import DeleteOptions, plan_deletion
from simulator.kube.history import Change
from simulator.kube.kinds import (
    DEPLOYMENT,
    EVENT,
    GPUUNIT,
    NAMESPACE,
    NETWORK_POLICY,
    POD,
    Kind,
    Object,
)
from simulator.kube.patching.merge import merge_patch
from simulator.kube.paths import parse_path
from simulator.kube.status import ApiFailure
from simulator.kube.store import ResourceStore
from simulator.kube.strategy import same
from simulator.kube.timestamps import format_time
from tests.kube.samples import NS, pod_spec, sample

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def made(store: ResourceStore, kind: Kind = GPUUNIT, name: str = "u1", **fields: Any) -> Object:
    return store.create(kind, {**sample(kind, name, **fields.pop("metadata", {})), **fields}, NS)


def owned_by(owner: Object) -> dict[str, Any]:
    name, uid = owner["metadata"]["name"], owner["metadata"]["uid"]
    return {"ownerReferences": [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name, "uid": uid}]}


def followed(store: ResourceStore, kind: Kind) -> list[Change]:
    changes: list[Change] = []
    store.listen(kind, changes.append)
    return changes


@pytest.mark.parametrize(("one", "other"), [(True, 1), (1, 1.0), ({"a": [0]}, {"a": [False]})])
def test_json_values_that_python_takes_for_equal_are_not_the_same(one: Any, other: Any) -> None:
    assert one == other
    assert not same(one, other)
    assert same(one, one)


@pytest.mark.parametrize(
    ("kind", "change", "generation"),
    [
        (GPUUNIT, {"metadata": {"labels": {"a": "b"}}}, 1),
        (GPUUNIT, {"spec": {"gpu": 2}}, 2),
        (GPUUNIT, {"status": {"phase": "Ready"}}, 1),
        (DEPLOYMENT, {"spec": {"replicas": 3}}, 2),
        (NETWORK_POLICY, {"spec": {"podSelector": {"matchLabels": None}}}, 2),
        (EVENT, {"count": 2}, None),
    ],
)
def test_generation_counts_changes_of_what_is_wanted(kind: Kind, change: Object, generation: int | None) -> None:
    store = ResourceStore()
    old = made(store, kind)
    new = store.update(kind, merge_patch(old, change), NS)
    assert new["metadata"].get("generation") == generation


def test_an_update_that_changes_nothing_keeps_the_version_and_tells_nobody(store: ResourceStore) -> None:
    old = made(store)
    changes = followed(store, GPUUNIT)
    assert store.update(GPUUNIT, old, NS) is old
    assert store.update_status(GPUUNIT, old, NS) is old
    assert changes == []


def test_every_write_gets_a_higher_version(store: ResourceStore) -> None:
    first = made(store)
    second = made(store, DEPLOYMENT)
    third = store.update(GPUUNIT, merge_patch(first, {"spec": {"gpu": 2}}), NS)
    versions = [int(obj["metadata"]["resourceVersion"]) for obj in (first, second, third)]
    assert versions == sorted(set(versions))
    assert store.version == versions[-1]


@pytest.mark.parametrize("write", ["update", "update_status"])
def test_a_stale_version_is_a_conflict(store: ResourceStore, write: str) -> None:
    stale = made(store)
    store.update(GPUUNIT, merge_patch(stale, {"spec": {"gpu": 2}}), NS)
    with pytest.raises(ApiFailure, match="the object has been modified") as failure:
        getattr(store, write)(GPUUNIT, merge_patch(stale, {"spec": {"gpu": 3}, "status": {"phase": "Ready"}}), NS)
    assert (failure.value.code, failure.value.body["reason"]) == (409, "Conflict")


def test_spec_and_status_are_written_apart(store: ResourceStore) -> None:
    unit = made(store, status={"phase": "invented"})
    assert "status" not in unit
    unit = store.update_status(GPUUNIT, merge_patch(unit, {"spec": {"gpu": 9}, "status": {"phase": "Ready"}}), NS)
    assert (unit["spec"], unit["status"]) == ({"specName": "s", "gpu": 1}, {"phase": "Ready"})
    unit = store.update(GPUUNIT, merge_patch(unit, {"spec": {"gpu": 2}, "status": {"phase": "Lost"}}), NS)
    assert (unit["spec"], unit["status"]) == ({"specName": "s", "gpu": 2}, {"phase": "Ready"})


def test_the_server_owns_some_metadata(store: ResourceStore) -> None:
    unit = made(store, metadata={"uid": "mine", "generation": 7, "creationTimestamp": "2020-01-01T00:00:00Z"})
    assert unit["metadata"]["uid"] != "mine"
    sent = merge_patch(unit, {"metadata": {"generation": 9, "creationTimestamp": None}, "spec": {"gpu": 1}})
    assert store.update(GPUUNIT, sent, NS)["metadata"] == unit["metadata"]


def test_create_needs_its_namespace(store: ResourceStore) -> None:
    with pytest.raises(ApiFailure, match='namespaces "absent" not found') as failure:
        store.create(GPUUNIT, {"metadata": {"name": "u1"}}, "absent")
    assert failure.value.code == 404


@pytest.mark.parametrize(
    ("metadata", "code", "problem"),
    [
        ({}, 422, "metadata.name: Required value"),
        ({"name": "Upper"}, 422, "RFC 1123 subdomain"),
        ({"name": "a" * 254}, 422, "no more than 253 characters"),
        ({"name": "a", "labels": {"-a": "b"}}, 422, "name part must consist"),
        ({"name": "a", "labels": {"a": "b c"}}, 422, "a valid label must be"),
        ({"name": "a", "ownerReferences": [{"name": "x"}]}, 422, "metadata.ownerReferences.uid"),
    ],
)
def test_wrong_metadata(store: ResourceStore, metadata: dict[str, Any], code: int, problem: str) -> None:
    with pytest.raises(ApiFailure, match=problem) as failure:
        store.create(GPUUNIT, {"metadata": metadata}, NS)
    assert failure.value.code == code
    assert store.list(GPUUNIT) == []


def test_an_object_with_a_finalizer_stays_until_it_is_taken_off(store: ResourceStore) -> None:
    made(store, metadata={"finalizers": ["example.com/x"]})
    changes = followed(store, GPUUNIT)
    marked, gone = store.delete(GPUUNIT, "u1", NS)
    assert not gone
    assert marked["metadata"]["deletionTimestamp"]
    store.update(GPUUNIT, merge_patch(marked, {"metadata": {"finalizers": []}}), NS)
    assert [change.type for change in changes] == ["MODIFIED", "DELETED"]
    assert store.list(GPUUNIT) == []


@pytest.mark.parametrize(
    ("asked_s", "spec", "phase", "already_s", "grace_s", "ends_s", "removed"),
    [
        (None, {"nodeName": "n"}, "Running", None, 30, 30, False),
        (None, {"nodeName": "n", "terminationGracePeriodSeconds": 5}, "Running", None, 5, 5, False),
        (2, {"nodeName": "n", "terminationGracePeriodSeconds": 5}, "Running", None, 2, 2, False),
        (-7, {"nodeName": "n"}, "Running", None, 1, 1, False),
        (0, {"nodeName": "n"}, "Running", None, 0, 0, True),
        (None, {}, "Pending", None, 0, 0, True),
        (9, {}, "Pending", None, 0, 0, True),
        (None, {"nodeName": "n"}, "Succeeded", None, 0, 0, True),
        (None, {"nodeName": "n"}, "Running", 20, 20, 10, False),
        (15, {"nodeName": "n"}, "Running", 20, 15, 5, False),  # 15 s from the first delete, which was 10 s ago
        (3, {"nodeName": "n"}, "Running", 20, 1, 0, False),  # that time is over
        (50, {"nodeName": "n"}, "Running", 20, 20, 10, False),
        (0, {"nodeName": "n"}, "Running", 20, 0, 0, True),
        (None, {"nodeName": "n"}, "Running", 0, 0, 10, True),
    ],
)
def test_a_pod_gets_time_to_end(
    asked_s: int | None, spec: Object, phase: str, already_s: int | None, grace_s: int, ends_s: int, removed: bool
) -> None:
    marks = {"deletionTimestamp": format_time(NOW + timedelta(seconds=10)), "deletionGracePeriodSeconds": already_s}
    metadata = {"name": "p", "generation": 1, **(marks if already_s is not None else {})}
    pod = {"metadata": metadata, "spec": spec, "status": {"phase": phase}}
    deletion = plan_deletion(POD, pod, DeleteOptions(grace_period_s=asked_s), NOW)
    assert deletion.remove is removed
    assert deletion.obj["metadata"]["deletionGracePeriodSeconds"] == grace_s
    assert deletion.obj["metadata"]["deletionTimestamp"] == format_time(NOW + timedelta(seconds=ends_s))
    assert deletion.obj["metadata"]["generation"] == (2 if already_s is None else 1)


def test_the_kubelet_ends_the_deletion_of_a_pod(store: ResourceStore) -> None:
    made(store, POD, "p", spec=pod_spec(nodeName="local"))
    changes = followed(store, POD)
    marked, gone = store.delete(POD, "p", NS)
    assert not gone
    assert store.get(POD, "p", NS) is marked
    _, gone = store.delete(POD, "p", NS, DeleteOptions(grace_period_s=0))
    assert gone
    assert [change.type for change in changes] == ["MODIFIED", "MODIFIED", "DELETED"]
    assert store.list(POD) == []


def test_dependents_go_when_their_last_owner_is_gone(store: ResourceStore) -> None:
    owner, other = made(store), made(store, name="u2")
    deployment = made(store, DEPLOYMENT, "d", metadata=owned_by(owner))
    made(store, POD, "running", metadata=owned_by(deployment), spec=pod_spec(nodeName="local"))
    made(store, POD, "waiting", metadata=owned_by(deployment))
    both = owned_by(owner)["ownerReferences"] + owned_by(other)["ownerReferences"]
    made(store, DEPLOYMENT, "shared", metadata={"ownerReferences": both})
    store.delete(GPUUNIT, "u1", NS)
    assert [obj["metadata"]["name"] for obj in store.list(DEPLOYMENT)] == ["shared"]
    left_owners = store.get(DEPLOYMENT, "shared", NS)["metadata"]["ownerReferences"]
    assert [reference["name"] for reference in left_owners] == ["u2"]
    left = {obj["metadata"]["name"]: "deletionTimestamp" in obj["metadata"] for obj in store.list(POD)}
    assert left == {"running": True}


def test_an_object_whose_owner_is_gone_already_is_collected(store: ResourceStore) -> None:
    owner = made(store)
    store.delete(GPUUNIT, "u1", NS)
    made(store, DEPLOYMENT, "late", metadata=owned_by(owner))
    assert store.list(DEPLOYMENT) == []


def test_a_namespace_goes_when_it_is_empty(store: ResourceStore) -> None:
    made(store)
    made(store, POD, "p", spec=pod_spec(nodeName="local"))
    store.delete(NAMESPACE, NS)
    assert store.list(GPUUNIT) == []
    status = store.get(NAMESPACE, NS)["status"]
    assert status["phase"] == "Terminating"
    told = {condition["type"]: (condition["status"], condition["message"]) for condition in status["conditions"]}
    assert told["NamespaceContentRemaining"] == ("True", "Some resources are remaining: pods. has 1 resource instances")
    assert told["NamespaceFinalizersRemaining"] == ("False", "All content-preserving finalizers finished")
    with pytest.raises(ApiFailure, match="because it is being terminated") as failure:
        made(store, name="late")
    assert failure.value.code == 403
    store.delete(POD, "p", NS, DeleteOptions(grace_period_s=0))
    assert [obj["metadata"]["name"] for obj in store.list(NAMESPACE)] == ["default", "kube-system"]


def test_the_oldest_events_give_way() -> None:
    store = ResourceStore(capacity={EVENT: 3})
    for number in range(5):
        made(store, EVENT, f"e{number}")
    assert [event["metadata"]["name"] for event in store.list(EVENT)] == ["e2", "e3", "e4"]


def test_the_history_is_bounded_per_kind() -> None:
    store = ResourceStore(watch_window=3)
    start = store.version
    made(store)
    for number in range(4):
        made(store, EVENT, f"e{number}")
    assert [change.obj["metadata"]["name"] for change in store.history(GPUUNIT).since(start)] == ["u1"]
    assert len(list(store.history(EVENT).since(store.version - 3))) == 3
    with pytest.raises(ApiFailure, match="too old resource version") as failure:
        store.history(EVENT).since(start)
    assert (failure.value.code, failure.value.body["reason"]) == (410, "Expired")


UNITS = "/apis/runtime.lokiwager.io/v1alpha1"


class Resolved(NamedTuple):
    kind: Kind
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None
    watch: bool = False


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        (f"{UNITS}/gpuunits", Resolved(GPUUNIT)),
        (f"{UNITS}/namespaces/a/gpuunits", Resolved(GPUUNIT, "a")),
        (f"{UNITS}/namespaces/a/gpuunits/u", Resolved(GPUUNIT, "a", "u")),
        (f"{UNITS}/namespaces/a/gpuunits/u/status", Resolved(GPUUNIT, "a", "u", "status")),
        (f"{UNITS}/gpuunits/u", None),
        (f"{UNITS}/namespaces/a/gpuunits/u/status/x", Resolved(GPUUNIT, "a", "u", "status")),
        ("/api/v1/namespaces/a/pods/p/status/x", None),
        (f"{UNITS}/namespaces/a/things", None),
        ("/api/v1/namespaces", Resolved(NAMESPACE)),
        ("/api/v1/namespaces/a", Resolved(NAMESPACE, None, "a")),
        ("/api/v1/namespaces/a/status", Resolved(NAMESPACE, None, "a", "status")),
        ("/api/v1/namespaces/a/pods", Resolved(POD, "a")),
        ("/api/v1/watch/namespaces/a/pods", Resolved(POD, "a", watch=True)),
        ("/api/v1/watch/pods", Resolved(POD, watch=True)),
        ("/api/v1/watch/namespaces/a/pods/p/status", None),
        ("/api/v2/namespaces/a/pods", None),
        ("/apis/apps/v1/pods", None),
        ("/", None),
    ],
)
def test_paths(store: ResourceStore, path: str, resolved: Resolved | None) -> None:
    path_of = parse_path(path, store.registry)
    found = path_of and Resolved(path_of.kind, path_of.namespace, path_of.name, path_of.subresource, path_of.watch)
    assert found == resolved


def test_a_namespace_that_ends_by_an_update_is_answered(store: ResourceStore) -> None:
    made = store.create(NAMESPACE, {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
    store.delete(NAMESPACE, "held")
    last = merge_patch(store.get(NAMESPACE, "held"), {"metadata": {"finalizers": None}})
    assert store.update(NAMESPACE, last)["metadata"]["uid"] == made["metadata"]["uid"]
    assert not store.holds(NAMESPACE, "held")
