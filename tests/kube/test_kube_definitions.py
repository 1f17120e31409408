"""What CustomResourceDefinitions bring about while they are there, when they change, and when they go."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from simulator.kube.history import Change
from simulator.kube.kinds import CONFIG_MAP, CUSTOM_RESOURCE_DEFINITION, GPUUNIT, Object
from simulator.kube.patching.merge import merge_patch
from simulator.kube.server import KubeServer
from simulator.kube.status import ApiFailure
from simulator.kube.store import ResourceStore
from tests.kube.samples import NS, sample
from tests.kube.sessions import session_with

UNITS = "gpuunits.runtime.lokiwager.io"
PATHS = "apis/runtime.lokiwager.io/{}/namespaces/runtime-instance/gpuunits"
HOLD = "example.com/hold"
WAIT_S = 10


@pytest.fixture
async def session(server: KubeServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with session_with(server) as session:
        yield session


def unit(store: ResourceStore, name: str, **metadata: Any) -> Object:
    return store.create(GPUUNIT, sample(GPUUNIT, name, **metadata), NS)


def terminating(definition: Object) -> tuple[str, str]:
    conditions = definition["status"]["conditions"]
    return next((one["status"], one["reason"]) for one in conditions if one["type"] == "Terminating")


def redefined(store: ResourceStore, change: Object) -> None:
    definition = store.get(CUSTOM_RESOURCE_DEFINITION, UNITS)
    store.update(CUSTOM_RESOURCE_DEFINITION, merge_patch(definition, change))


def test_a_definition_goes_after_the_objects_of_its_resource(store: ResourceStore) -> None:
    unit(store, "free")
    held = unit(store, "held", finalizers=[HOLD])
    dependent = {**sample(CONFIG_MAP, "c"), "metadata": {"name": "c", "ownerReferences": [reference_to(held)]}}
    store.create(CONFIG_MAP, dependent, NS)
    marked, gone = store.delete(CUSTOM_RESOURCE_DEFINITION, UNITS)
    assert (terminating(marked), gone) == (("True", "InstanceDeletionPending"), False)
    assert marked["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert marked["metadata"]["generation"] == 1
    waiting = store.get(CUSTOM_RESOURCE_DEFINITION, UNITS)
    assert terminating(waiting) == ("True", "InstanceDeletionInProgress")
    [left] = store.list(GPUUNIT)
    assert (left["metadata"]["name"], "deletionTimestamp" in left["metadata"]) == ("held", True)
    with pytest.raises(ApiFailure, match="create not allowed while custom resource definition is terminating") as late:
        unit(store, "late")
    assert late.value.code == 403
    store.update(GPUUNIT, merge_patch(left, {"metadata": {"finalizers": None}}), NS)
    assert not store.holds(CUSTOM_RESOURCE_DEFINITION, UNITS)
    assert not store.holds(CONFIG_MAP, "c", NS)
    assert GPUUNIT not in store.kinds


def reference_to(owner: Object) -> Object:
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def test_what_a_definition_does_at_its_end(store: ResourceStore) -> None:
    changes: list[Change] = []
    store.listen(CUSTOM_RESOURCE_DEFINITION, changes.append)
    store.delete(CUSTOM_RESOURCE_DEFINITION, UNITS)
    assert [(change.type, *terminating(change.obj)) for change in changes] == [
        ("MODIFIED", "True", "InstanceDeletionPending"),
        ("MODIFIED", "True", "InstanceDeletionInProgress"),
        ("DELETED", "True", "InstanceDeletionInProgress"),  # the last state that was stored
    ]


def test_a_definition_whose_names_were_taken_goes_at_once(store: ResourceStore) -> None:
    rival = sample(CUSTOM_RESOURCE_DEFINITION)
    store.create(CUSTOM_RESOURCE_DEFINITION, rival)
    names = {"plural": "others", "singular": "thing", "kind": "Other"}
    other = merge_patch(rival, {"metadata": {"name": "others.example.com"}, "spec": {"names": names}})
    store.create(CUSTOM_RESOURCE_DEFINITION, other)
    assert store.registry.at("example.com", "v1", "others") is None
    store.delete(CUSTOM_RESOURCE_DEFINITION, "others.example.com")
    assert not store.holds(CUSTOM_RESOURCE_DEFINITION, "others.example.com")
    assert store.registry.at("example.com", "v1", "things") is not None


def test_what_the_objects_of_a_definition_own_goes_with_them(store: ResourceStore) -> None:
    owner = unit(store, "owner")
    owned = {**sample(CONFIG_MAP, "owned"), "metadata": {"name": "owned", "ownerReferences": [reference_to(owner)]}}
    store.create(CONFIG_MAP, owned, NS)
    store.delete(CUSTOM_RESOURCE_DEFINITION, UNITS)
    assert not store.holds(CUSTOM_RESOURCE_DEFINITION, UNITS)
    assert not store.holds(CONFIG_MAP, "owned", NS)


def test_an_owner_of_a_kind_that_is_served_no_longer_is_unknown(store: ResourceStore) -> None:
    owner = unit(store, "owner")
    store.delete(CUSTOM_RESOURCE_DEFINITION, UNITS)
    late = {**sample(CONFIG_MAP, "late"), "metadata": {"name": "late", "ownerReferences": [reference_to(owner)]}}
    store.create(CONFIG_MAP, late, NS)
    assert store.holds(CONFIG_MAP, "late", NS)  # nobody can tell any longer whether its owner is there


def test_a_definition_that_comes_again_is_served_again(store: ResourceStore) -> None:
    definition = store.get(CUSTOM_RESOURCE_DEFINITION, UNITS)
    unit(store, "before")
    store.delete(CUSTOM_RESOURCE_DEFINITION, UNITS)
    store.create(CUSTOM_RESOURCE_DEFINITION, {"metadata": {"name": UNITS}, "spec": definition["spec"]})
    unit(store, "after")
    assert [obj["metadata"]["name"] for obj in store.list(GPUUNIT)] == ["after"]


def test_objects_stay_when_their_definition_changes(store: ResourceStore) -> None:
    owner = unit(store, "u")
    store.create(CONFIG_MAP, sample(CONFIG_MAP, "c", ownerReferences=[reference_to(owner)]), NS)
    version = store.version
    redefined(store, {"spec": {"names": {"shortNames": ["gu"], "categories": ["all"]}}})
    assert [obj["metadata"]["name"] for obj in store.list(GPUUNIT)] == ["u"]
    assert list(store.history(GPUUNIT).since(version)) == []
    store.delete(GPUUNIT, "u", NS)
    assert not store.holds(CONFIG_MAP, "c", NS)


async def test_a_watch_ends_with_its_definition(session: aiohttp.ClientSession, store: ResourceStore) -> None:
    unit(store, "u")
    async with asyncio.timeout(WAIT_S), session.get(f"{PATHS.format('v1alpha1')}?watch=1") as watch:
        store.delete(CUSTOM_RESOURCE_DEFINITION, UNITS)
        lines = (await watch.content.read()).splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["ADDED", "DELETED"]
    async with session.get(PATHS.format("v1alpha1")) as response:
        assert response.status == 404


@pytest.mark.parametrize("stored", ["v1alpha1", "v1"])
async def test_each_version_shows_every_object(
    session: aiohttp.ClientSession, store: ResourceStore, stored: str
) -> None:
    unit(store, "u")
    [version] = store.get(CUSTOM_RESOURCE_DEFINITION, UNITS)["spec"]["versions"]
    versions = [{**version, "name": name, "storage": name == stored} for name in ("v1alpha1", "v1")]
    redefined(store, {"spec": {"versions": versions}})
    for name in ("v1alpha1", "v1"):
        path, written = PATHS.format(name), f"runtime.lokiwager.io/{name}"
        async with session.get(f"{path}/u") as response:
            assert (await response.json())["apiVersion"] == written
        async with session.get(path) as response:
            assert [item["apiVersion"] for item in (await response.json())["items"]] == [written]
        merge = {"Content-Type": "application/merge-patch+json"}
        async with session.patch(f"{path}/u", data=b'{"spec":{"gpu":2}}', headers=merge) as response:
            assert (await response.json())["apiVersion"] == written
        async with asyncio.timeout(WAIT_S), session.get(f"{path}?watch=1") as watch:
            assert json.loads(await watch.content.readline())["object"]["apiVersion"] == written


def with_versions(store: ResourceStore, *, served: tuple[str, ...], stored: str = "v1alpha1") -> None:
    [version] = store.get(CUSTOM_RESOURCE_DEFINITION, UNITS)["spec"]["versions"]
    names = ("v1alpha1", "v1")
    versions = [{**version, "name": name, "served": name in served, "storage": name == stored} for name in names]
    redefined(store, {"spec": {"versions": versions}})


def test_objects_go_with_their_definition_though_no_version_is_served(store: ResourceStore) -> None:
    definition = store.get(CUSTOM_RESOURCE_DEFINITION, UNITS)
    held = unit(store, "held", finalizers=[HOLD])
    with_versions(store, served=())
    assert store.registry.at("runtime.lokiwager.io", "v1alpha1", "gpuunits") is None
    store.delete(CUSTOM_RESOURCE_DEFINITION, UNITS)
    assert store.holds(CUSTOM_RESOURCE_DEFINITION, UNITS)
    store.update(GPUUNIT, merge_patch(store.get(GPUUNIT, "held", NS), {"metadata": {"finalizers": None}}), NS)
    assert not store.holds(CUSTOM_RESOURCE_DEFINITION, UNITS)
    store.create(CUSTOM_RESOURCE_DEFINITION, {"metadata": {"name": UNITS}, "spec": definition["spec"]})
    assert store.list(GPUUNIT) == []
    assert unit(store, "held")["metadata"]["uid"] != held["metadata"]["uid"]


async def test_objects_are_written_in_a_version_in_which_they_are_not_stored(
    session: aiohttp.ClientSession, store: ResourceStore
) -> None:
    with_versions(store, served=("v1",))
    body = {**sample(GPUUNIT, "u"), "apiVersion": "runtime.lokiwager.io/v1"}
    async with session.post(PATHS.format("v1"), json=body) as response:
        assert (response.status, (await response.json())["apiVersion"]) == (201, "runtime.lokiwager.io/v1")
    async with session.get(PATHS.format("v1alpha1")) as response:
        assert response.status == 404


def add_rivals(store: ResourceStore) -> None:
    """Add two definitions that make the same kind, of which the first is served."""
    first = sample(CUSTOM_RESOURCE_DEFINITION)
    second = merge_patch(first, {"metadata": {"name": "others.example.com"}, "spec": {"names": {"plural": "others"}}})
    for definition in (first, second):
        store.create(CUSTOM_RESOURCE_DEFINITION, definition)


def test_a_definition_is_served_when_its_names_become_free(store: ResourceStore) -> None:
    add_rivals(store)
    assert store.registry.at("example.com", "v1", "others") is None
    store.delete(CUSTOM_RESOURCE_DEFINITION, "things.example.com")
    assert store.registry.at("example.com", "v1", "others") is not None
    conditions = store.get(CUSTOM_RESOURCE_DEFINITION, "others.example.com")["status"]["conditions"]
    assert [(one["type"], one["status"]) for one in conditions] == [("NamesAccepted", "True"), ("Established", "True")]


def test_names_that_are_asked_for_later_are_served_when_they_are_accepted(store: ResourceStore) -> None:
    add_rivals(store)
    names = {"kind": "Other", "listKind": "OtherList", "singular": "other", "shortNames": ["th"]}
    other = store.get(CUSTOM_RESOURCE_DEFINITION, "others.example.com")
    store.update(CUSTOM_RESOURCE_DEFINITION, merge_patch(other, {"spec": {"names": names}}))
    thing = store.get(CUSTOM_RESOURCE_DEFINITION, "things.example.com")
    store.update(CUSTOM_RESOURCE_DEFINITION, merge_patch(thing, {"spec": {"names": {"shortNames": ["th"]}}}))
    served = store.registry.at("example.com", "v1", "things")
    assert served is not None
    assert served.kind.short_names == ()
    store.delete(CUSTOM_RESOURCE_DEFINITION, "others.example.com")
    served = store.registry.at("example.com", "v1", "things")
    assert served is not None
    assert served.kind.short_names == ("th",)


async def test_a_watch_ends_when_what_its_definition_makes_changes(
    session: aiohttp.ClientSession, store: ResourceStore
) -> None:
    unit(store, "u")
    async with asyncio.timeout(WAIT_S), session.get(f"{PATHS.format('v1alpha1')}?watch=1") as watch:
        assert json.loads(await watch.content.readline())["type"] == "ADDED"
        redefined(store, {"spec": {"names": {"shortNames": ["gu"]}}})
        assert await watch.content.read() == b""


def test_nothing_can_be_written_to_a_resource_that_ends_but_deletes(store: ResourceStore) -> None:
    unit(store, "held", finalizers=[HOLD])
    store.delete(CUSTOM_RESOURCE_DEFINITION, UNITS)
    served = store.registry.at("runtime.lokiwager.io", "v1alpha1", "gpuunits")
    assert served is not None
    assert served.verbs == ("delete", "deletecollection", "get", "list", "watch")
