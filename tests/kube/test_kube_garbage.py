"""What becomes of dependents, orphans and the content of namespaces when something is deleted."""

from typing import Any

import pytest

from simulator.kube.crds import platform_crd
from simulator.kube.deletion import DeleteOptions
from simulator.kube.history import Change
from simulator.kube.kinds import CONFIG_MAP, GPUUNIT, NAMESPACE, NODE, Kind, Object
from simulator.kube.listing import ListOptions
from simulator.kube.patching.merge import merge_patch
from simulator.kube.selectors import parse_selector
from simulator.kube.status import ApiFailure
from simulator.kube.store import ResourceStore
from tests.kube.samples import NS, sample

HOLD = "example.com/hold"
ROOT_CA = "kube-root-ca.crt"
"""The ConfigMap that every namespace has."""
FOREGROUND = DeleteOptions(propagation="Foreground")
ORPHAN = DeleteOptions(propagation="Orphan")


def made(store: ResourceStore, name: str, *owners: Object, kind: Kind = CONFIG_MAP, **metadata: Any) -> Object:
    references = [*map(reference_to, owners), *metadata.pop("ownerReferences", [])]
    namespace = NS if kind.namespaced else None
    return store.create(kind, sample(kind, name, ownerReferences=references, **metadata), namespace)


def reference_to(owner: Object, **changed: Any) -> dict[str, Any]:
    metadata = owner["metadata"]
    named = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return {**named, "blockOwnerDeletion": True, **changed}


def released(store: ResourceStore, kind: Kind, name: str) -> None:
    store.update(kind, merge_patch(store.get(kind, name, NS), {"metadata": {"finalizers": None}}), NS)


def state(store: ResourceStore, kind: Kind) -> dict[str, str]:
    """The objects of a kind that were made here: `deleting` or empty."""
    return {
        obj["metadata"]["name"]: "deleting" if "deletionTimestamp" in obj["metadata"] else ""
        for obj in store.list(kind, NS)
        if obj["metadata"]["name"] != ROOT_CA
    }


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({}, True),
        ({"uid": "11111111-1111-1111-1111-111111111111"}, False),
        ({"name": "another"}, False),  # of the same uid, but not there
        ({"kind": "Nope"}, True),  # nobody can tell
        ({"apiVersion": "runtime.lokiwager.io/v9"}, True),
        ({"apiVersion": "v1", "kind": "Node"}, False),  # not found among those of the cluster
    ],
)
def test_an_owner_is_looked_for_where_the_reference_says(changed: dict[str, Any], kept: bool) -> None:
    store = ResourceStore()
    owner = made(store, "owner", kind=GPUUNIT)
    made(store, "c", ownerReferences=[reference_to(owner, **changed)])
    assert state(store, CONFIG_MAP) == ({"c": ""} if kept else {})


def test_an_owner_in_a_namespace_cannot_own_what_is_in_none() -> None:
    store = ResourceStore()
    owner = made(store, "owner", kind=GPUUNIT)
    made(store, "n", owner, kind=NODE)
    store.delete(GPUUNIT, "owner", NS)
    assert [obj["metadata"]["name"] for obj in store.list(NODE)] == ["n"]


def test_another_version_of_the_owners_kind_is_the_same_kind() -> None:
    [version] = platform_crd()["spec"]["versions"]
    other = {**version, "name": "v1", "storage": False}
    store = ResourceStore(definitions=[merge_patch(platform_crd(), {"spec": {"versions": [version, other]}})])
    owner = made(store, "owner", kind=GPUUNIT)
    made(store, "c", ownerReferences=[reference_to(owner, apiVersion=f"{GPUUNIT.group}/v1", uid="old")])
    assert state(store, CONFIG_MAP) == {}


def test_an_absent_owner_is_struck_off_when_another_one_is_there() -> None:
    store = ResourceStore()
    owner = made(store, "owner", kind=GPUUNIT)
    made(store, "c", ownerReferences=[reference_to(owner), reference_to(owner, name="gone", uid="u-gone")])
    left = store.get(CONFIG_MAP, "c", NS)["metadata"]["ownerReferences"]
    assert [reference["name"] for reference in left] == ["owner"]


def test_an_update_that_names_an_absent_owner_is_the_end_of_the_object() -> None:
    store = ResourceStore()
    obj = made(store, "c")
    gone = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u-gone"}
    store.update(CONFIG_MAP, merge_patch(obj, {"metadata": {"ownerReferences": [gone]}}), NS)
    assert state(store, CONFIG_MAP) == {}


def test_in_the_foreground_the_owner_goes_last() -> None:
    store = ResourceStore()
    owner, other = made(store, "owner", kind=GPUUNIT), made(store, "other", kind=GPUUNIT)
    made(store, "held", owner, finalizers=[HOLD])
    made(store, "free", owner)
    made(store, "shared", owner, other)
    made(store, "beside", ownerReferences=[reference_to(owner, blockOwnerDeletion=False)], finalizers=[HOLD])
    marked, gone = store.delete(GPUUNIT, "owner", NS, FOREGROUND)
    assert (marked["metadata"]["finalizers"], gone) == (["foregroundDeletion"], False)
    assert state(store, CONFIG_MAP) == {"beside": "deleting", "held": "deleting", "shared": ""}
    assert state(store, GPUUNIT) == {"other": "", "owner": "deleting"}
    released(store, CONFIG_MAP, "held")
    assert state(store, CONFIG_MAP) == {"beside": "deleting", "shared": ""}
    assert state(store, GPUUNIT) == {"other": ""}


def test_in_the_foreground_the_dependents_of_dependents_go_first() -> None:
    store = ResourceStore()
    owner = made(store, "owner", kind=GPUUNIT)
    middle = made(store, "middle", owner)
    made(store, "last", middle)
    order: list[str] = []
    for kind in (GPUUNIT, CONFIG_MAP):
        store.listen(kind, lambda change: order.extend(deleted(change)))
    store.delete(GPUUNIT, "owner", NS, FOREGROUND)
    assert order == ["last", "middle", "owner"]


def deleted(change: Change) -> list[str]:
    return [change.obj["metadata"]["name"]] if change.type == "DELETED" else []


def test_a_circle_of_owners_ends() -> None:
    store = ResourceStore()
    first = made(store, "first")
    second = made(store, "second", first)
    store.update(CONFIG_MAP, merge_patch(first, {"metadata": {"ownerReferences": [reference_to(second)]}}), NS)
    store.delete(CONFIG_MAP, "first", NS, FOREGROUND)
    assert state(store, CONFIG_MAP) == {}


def test_orphans_stay_without_their_owner() -> None:
    store = ResourceStore()
    owner, other = made(store, "owner", kind=GPUUNIT), made(store, "other", kind=GPUUNIT)
    made(store, "c", owner)
    made(store, "shared", owner, other)
    marked, gone = store.delete(GPUUNIT, "owner", NS, ORPHAN)
    assert (marked["metadata"]["finalizers"], gone) == (["orphan"], False)
    assert state(store, GPUUNIT) == {"other": ""}
    assert "ownerReferences" not in store.get(CONFIG_MAP, "c", NS)["metadata"]
    left = store.get(CONFIG_MAP, "shared", NS)["metadata"]["ownerReferences"]
    assert [reference["name"] for reference in left] == ["other"]


@pytest.mark.parametrize(
    ("held", "options", "finalizers"),
    [
        ([HOLD, "orphan"], DeleteOptions(), [HOLD]),  # the collector orphans what there is, and takes it off
        ([HOLD, "orphan"], DeleteOptions(propagation="Background"), [HOLD]),
        ([HOLD], DeleteOptions(orphan_dependents=False), [HOLD]),
        ([HOLD], DeleteOptions(propagation="Foreground"), [HOLD]),
    ],
)
def test_other_finalizers_stay(held: list[str], options: DeleteOptions, finalizers: list[str]) -> None:
    store = ResourceStore()
    made(store, "c", finalizers=held)
    _, gone = store.delete(CONFIG_MAP, "c", NS, options)
    assert not gone
    assert store.get(CONFIG_MAP, "c", NS)["metadata"]["finalizers"] == finalizers


@pytest.mark.parametrize("options", [DeleteOptions(), FOREGROUND, ORPHAN])
def test_a_dry_run_deletes_nothing(options: DeleteOptions) -> None:
    store = ResourceStore()
    owner = made(store, "owner", kind=GPUUNIT)
    made(store, "c", owner)
    version = store.version
    obj, gone = store.delete(GPUUNIT, "owner", NS, options, dry_run=True)
    assert gone is (options.propagation is None)
    assert ("deletionTimestamp" in obj["metadata"]) is not gone
    assert (store.version, state(store, GPUUNIT), state(store, CONFIG_MAP)) == (version, {"owner": ""}, {"c": ""})


def test_dry_writes_answer_and_do_nothing() -> None:
    store = ResourceStore()
    old = made(store, "c")
    version = store.version
    created = store.create(CONFIG_MAP, {"metadata": {"name": "d"}}, NS, dry_run=True)
    assert "uid" in created["metadata"]
    assert "resourceVersion" not in created["metadata"]
    updated = store.update(CONFIG_MAP, {**old, "data": {"a": "1"}}, NS, dry_run=True)
    assert (updated["data"], updated["metadata"]) == ({"a": "1"}, old["metadata"])
    assert (store.version, store.get(CONFIG_MAP, "c", NS)) == (version, old)
    with pytest.raises(ApiFailure, match="already exists"):
        store.create(CONFIG_MAP, {"metadata": {"name": "c"}}, NS, dry_run=True)


def test_the_selected_objects_of_a_namespace_are_deleted_together() -> None:
    store = ResourceStore()
    owner = made(store, "a", labels={"app": "x"})
    made(store, "b", owner, labels={"app": "x"})  # gone with its owner already
    made(store, "c", labels={"app": "y"})
    selection = ListOptions(parse_selector(CONFIG_MAP, "app=x", ""))
    page = store.delete_collection(CONFIG_MAP, NS, selection, DeleteOptions())
    assert [obj["metadata"]["name"] for obj in page.objects] == ["a", "b"]
    assert state(store, CONFIG_MAP) == {"c": ""}


def test_a_namespace_tells_what_it_waits_for() -> None:
    store = ResourceStore()
    made(store, "u", kind=GPUUNIT, finalizers=[HOLD])
    made(store, "c", finalizers=[HOLD, "example.com/other"])
    marked, gone = store.delete(NAMESPACE, NS)
    assert (marked["status"], gone) == ({"phase": "Terminating"}, False)
    assert told(store)["NamespaceContentRemaining"] == (
        "Some resources are remaining: configmaps. has 1 resource instances, "
        "gpuunits.runtime.lokiwager.io has 1 resource instances"
    )
    assert told(store)["NamespaceFinalizersRemaining"] == (
        "Some content in the namespace has finalizers remaining: example.com/hold in 2 resource instances, "
        "example.com/other in 1 resource instances"
    )
    released(store, GPUUNIT, "u")
    assert told(store)["NamespaceContentRemaining"].endswith("remaining: configmaps. has 1 resource instances")
    changes: list[Change] = []
    store.listen(NAMESPACE, changes.append)
    released(store, CONFIG_MAP, "c")
    assert [change.type for change in changes] == ["MODIFIED", "DELETED"]
    assert changes[0].obj["status"]["conditions"][3]["reason"] == "ContentRemoved"


def told(store: ResourceStore) -> dict[str, str]:
    conditions = store.get(NAMESPACE, NS)["status"]["conditions"]
    return {condition["type"]: condition["message"] for condition in conditions}


@pytest.mark.parametrize("name", ["default", "kube-system"])
def test_some_namespaces_stay(name: str) -> None:
    with pytest.raises(ApiFailure, match="this namespace may not be deleted") as failure:
        ResourceStore().delete(NAMESPACE, name)
    assert failure.value.code == 403
