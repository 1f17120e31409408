"""The client and the informer against the embedded API."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import (
    AlreadyExistsError,
    ClusterAwayError,
    ConflictError,
    EnvironmentMissing,
    ExpiredError,
    InvalidError,
    NotFoundError,
)
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer, Key
from simulator.kube.kinds import DEPLOYMENT, GPUUNIT, NAMESPACE, POD, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from tests.kube.samples import NS, pod_spec, sample

WAIT_S = 10


def unit(name: str = "u1", **metadata: Any) -> Object:
    return {"metadata": {"name": name, "namespace": NS, **metadata}, "spec": {"specName": "s", "gpu": 1}}


@contextlib.asynccontextmanager
async def running(informer: Informer) -> AsyncIterator[Informer]:
    task = asyncio.create_task(informer.run())
    try:
        await informer.synced(WAIT_S)
        yield informer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def named(name: str) -> Any:
    return lambda informer: informer.get(NS, name)


async def test_objects_are_created_read_and_listed(cluster: Cluster) -> None:
    created = await cluster.create(GPUUNIT, unit(labels={"a": "b"}))
    await cluster.create(GPUUNIT, unit("u2"))
    assert (created["kind"], created["spec"]) == ("GPUUnit", {"specName": "s", "gpu": 1})
    assert await cluster.get(GPUUNIT, "u1", NS) == created
    assert [obj["metadata"]["name"] for obj in await cluster.list(GPUUNIT)] == ["u1", "u2"]
    assert [obj["metadata"]["name"] for obj in await cluster.list(GPUUNIT, NS, {"a": "b"})] == ["u1"]
    assert await cluster.list(GPUUNIT, "default") == []


async def test_listed_objects_know_their_kind(cluster: Cluster) -> None:
    created = await cluster.create(POD, sample(POD, "p", namespace=NS))
    assert await cluster.list(POD) == [created]


async def test_a_cluster_scoped_kind_has_no_namespace(cluster: Cluster) -> None:
    await cluster.create(NAMESPACE, {"metadata": {"name": "extra"}})
    assert (await cluster.get(NAMESPACE, "extra"))["status"] == {"phase": "Active"}
    assert len(await cluster.list(NAMESPACE)) == 4
    await cluster.delete(NAMESPACE, "extra")
    assert len(await cluster.list(NAMESPACE)) == 3


async def test_the_second_of_two_writers_gets_a_conflict(cluster: Cluster) -> None:
    stale = await cluster.create(GPUUNIT, unit())
    fresh = await cluster.update(GPUUNIT, {**stale, "spec": {"specName": "s", "gpu": 2}})
    with pytest.raises(ConflictError, match="the object has been modified"):
        await cluster.update(GPUUNIT, {**stale, "spec": {"specName": "s", "gpu": 3}})
    with pytest.raises(ConflictError):
        await cluster.update_status(GPUUNIT, {**stale, "status": {"phase": "Ready"}})
    with pytest.raises(ConflictError, match="field is immutable"):
        await cluster.patch(GPUUNIT, "u1", {"metadata": {"uid": "of-another"}}, NS)
    assert await cluster.get(GPUUNIT, "u1", NS) == fresh


async def test_patch_merges_and_status_is_apart(cluster: Cluster) -> None:
    await cluster.create(GPUUNIT, unit())
    patched = await cluster.patch(GPUUNIT, "u1", {"spec": {"image": "i", "gpu": None}, "status": {"phase": "No"}}, NS)
    assert (patched["spec"], patched.get("status")) == ({"specName": "s", "image": "i"}, None)
    patched = await cluster.patch_status(GPUUNIT, "u1", {"spec": {"image": "j"}, "status": {"phase": "Ready"}}, NS)
    assert (patched["spec"], patched["status"]) == ({"specName": "s", "image": "i"}, {"phase": "Ready"})
    updated = await cluster.update_status(GPUUNIT, {**patched, "status": {"phase": "Failed"}})
    assert (updated["status"], updated["metadata"]["generation"]) == ({"phase": "Failed"}, 2)


async def test_a_pod_is_deleted_with_a_grace_period(cluster: Cluster) -> None:
    await cluster.create(POD, {**sample(POD, "p", namespace=NS), "spec": pod_spec(nodeName="local")})
    await cluster.delete(POD, "p", NS, grace_period_s=5)
    assert (await cluster.get(POD, "p", NS))["metadata"]["deletionGracePeriodSeconds"] == 5
    await cluster.delete(POD, "p", NS, grace_period_s=0)
    assert await cluster.list(POD) == []


async def test_dependents_go_with_their_owner(cluster: Cluster) -> None:
    owner = await cluster.create(GPUUNIT, unit())
    reference = {"apiVersion": owner["apiVersion"], "kind": "GPUUnit", "name": "u1", "uid": owner["metadata"]["uid"]}
    await cluster.create(DEPLOYMENT, sample(DEPLOYMENT, "d", namespace=NS, ownerReferences=[reference]))
    await cluster.delete(GPUUNIT, "u1", NS)
    assert await cluster.list(DEPLOYMENT) == []


async def test_errors_carry_the_words_of_the_server(cluster: Cluster) -> None:
    await cluster.create(GPUUNIT, unit())
    with pytest.raises(NotFoundError, match=r'gpuunits\.runtime\.lokiwager\.io "absent" not found'):
        await cluster.get(GPUUNIT, "absent", NS)
    with pytest.raises(NotFoundError):
        await cluster.delete(GPUUNIT, "absent", NS)
    with pytest.raises(AlreadyExistsError, match="already exists"):
        await cluster.create(GPUUNIT, unit())
    with pytest.raises(InvalidError, match="RFC 1123"):
        await cluster.create(GPUUNIT, unit("Not_DNS"))
    with pytest.raises(InvalidError, match="must be specified for an update"):
        await cluster.update(GPUUNIT, unit())


async def test_a_server_that_is_not_there_is_named(cluster: Cluster, server: KubeServer) -> None:
    await server.__aexit__(None, None, None)
    with pytest.raises(
        ClusterAwayError, match=f"no answer from the Kubernetes API at {server.url}.*check that it runs"
    ):
        await cluster.list(GPUUNIT)
    with pytest.raises(ClusterAwayError, match=server.url):
        async for _ in cluster.watch(GPUUNIT, NS, "1"):
            pass


@pytest.mark.parametrize("content", [None, "not: [a kubeconfig", "{}"])
def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EnvironmentMissing, match=str(path)):
        Cluster(path, field_manager="tests")


@pytest.mark.parametrize("content", ["", "# nothing", "{}", "[]", "text", "5", "clusters: 7", "a: b"])
def test_a_kubeconfig_of_another_form_is_said_so_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(EnvironmentMissing, match="it is empty or no kubeconfig") as caught:
        Cluster(path, field_manager="tests")
    assert "\n" not in str(caught.value)


async def test_a_watch_too_far_back_is_expired(cluster: Cluster) -> None:
    with pytest.raises(ExpiredError, match="too old resource version"):
        async for _ in cluster.watch(GPUUNIT, NS, "1"):
            pass


async def test_an_informer_follows(cluster: Cluster) -> None:
    await cluster.create(GPUUNIT, unit())
    informer = Informer(cluster, GPUUNIT, NS)
    changed: list[Key] = []
    informer.on_change(changed.append)
    async with running(informer):
        assert informer.get(NS, "u1") == await cluster.get(GPUUNIT, "u1", NS)
        created = await cluster.create(GPUUNIT, unit("u2"))
        assert await informer.wait_for(named("u2"), WAIT_S) == created
        await cluster.delete(GPUUNIT, "u1", NS)
        await informer.wait_for(lambda copy: copy.get(NS, "u1") is None or None, WAIT_S)
        assert informer.objects() == [created]
    assert changed == [(NS, "u1"), (NS, "u2"), (NS, "u1")]


async def test_an_informer_sees_only_its_labels(cluster: Cluster) -> None:
    async with running(Informer(cluster, GPUUNIT, labels={"app": "a"})) as informer:
        await cluster.create(GPUUNIT, unit("other"))
        await cluster.create(GPUUNIT, unit("mine", labels={"app": "a"}))
        await informer.wait_for(named("mine"), WAIT_S)
        await cluster.patch(GPUUNIT, "mine", {"metadata": {"labels": {"app": "b"}}}, NS)
        await informer.wait_for(lambda copy: True if not copy.objects() else None, WAIT_S)
    assert await cluster.get(GPUUNIT, "mine", NS)


async def test_waiting_in_vain_times_out(cluster: Cluster) -> None:
    async with running(Informer(cluster, GPUUNIT)) as informer:
        with pytest.raises(TimeoutError):
            await informer.wait_for(named("never"), 0.05)
    with pytest.raises(TimeoutError):
        await Informer(cluster, GPUUNIT).synced(0.01)


async def test_an_informer_lists_again_after_the_history_is_lost(tmp_path: Path) -> None:
    """The server restarts empty on the same port: what is gone is gone from the copy, what is new is in it."""
    kubeconfig = tmp_path / "kubeconfig"
    async with KubeServer(ResourceStore()) as first:
        first.write_kubeconfig(kubeconfig)
        port = int(first.url.rpartition(":")[2])
        async with Cluster(kubeconfig, field_manager="tests") as cluster:
            informer = Informer(cluster, GPUUNIT, NS)
            changed: list[Key] = []
            informer.on_change(changed.append)
            async with running(informer):
                await cluster.create(GPUUNIT, unit("before"))
                await informer.wait_for(named("before"), WAIT_S)
                await first.__aexit__(None, None, None)
                store = ResourceStore()
                store.create(GPUUNIT, sample(GPUUNIT, "after"), NS)
                async with KubeServer(store, port, first.credentials):
                    await informer.wait_for(named("after"), WAIT_S)
                    assert informer.get(NS, "before") is None
    assert sorted(changed) == [(NS, "after"), (NS, "before"), (NS, "before")]


async def test_an_informer_lists_again_after_410(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While its list is under way more happens than the server remembers."""
    store = ResourceStore(watch_window=2)
    kubeconfig = tmp_path / "kubeconfig"
    lists = 0
    async with KubeServer(store) as server:
        server.write_kubeconfig(kubeconfig)
        async with Cluster(kubeconfig, field_manager="tests") as cluster:
            listed = cluster.list_with_version

            async def slow_list(*arguments: Any) -> Any:
                nonlocal lists
                lists += 1
                answer = await listed(*arguments)
                if lists == 1:
                    for number in range(5):
                        store.create(GPUUNIT, sample(GPUUNIT, f"u{number}"), NS)
                return answer

            monkeypatch.setattr(cluster, "list_with_version", slow_list)
            async with running(Informer(cluster, GPUUNIT, NS)) as informer:
                await informer.wait_for(lambda copy: True if len(copy.objects()) == 5 else None, WAIT_S)
                await cluster.create(GPUUNIT, unit("later"))
                await informer.wait_for(named("later"), WAIT_S)
    assert lists == 2


async def test_many_informers_and_writers_agree(cluster: Cluster) -> None:
    async with contextlib.AsyncExitStack() as stack:
        informers = [await stack.enter_async_context(running(Informer(cluster, GPUUNIT))) for _ in range(10)]
        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(cluster.create(GPUUNIT, unit(f"u{number}")))
        for informer in informers:
            await informer.wait_for(lambda copy: True if len(copy.objects()) == 30 else None, WAIT_S)
        expected = await cluster.list(GPUUNIT)
        for informer in informers:
            assert sorted(informer.objects(), key=lambda obj: obj["metadata"]["name"]) == expected
