"""The issuer between the embedded Kubernetes API and a guarded queue: what a unit's sidecar gets, keeps and loses."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.queue import Access, ConsumerSettings, Credentials, Queue, StreamSettings
from sidecar.subjects import sidecar_consumer, worker_inboxes
from simulator.errors import NotFoundError
from simulator.gpuunit import ACTIVE_NAMESPACE, UNIT_LABEL, object_labels
from simulator.identities.issuer import DISPATCH_ACK_WAIT_S, Issuer
from simulator.identities.secret import CREDENTIALS_KEY, secret_name
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT, POD, SECRET, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore

if TYPE_CHECKING:
    from tests.identities.conftest import Guarded

pytestmark = pytest.mark.e2e

TIMEOUT_S = 15.0
STREAM = "RUNTIME_SERVERLESS"
SUBJECTS = StreamSettings().subjects
ADVISORY = f"$JS.EVENT.ADVISORY.CONSUMER.DELETED.{STREAM}"


def unit_of(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": GPUUNIT.api_version,
        "kind": GPUUNIT.kind,
        "metadata": {"name": name, "namespace": ACTIVE_NAMESPACE},
        "spec": {"specName": "g1.1", **spec},
    }


def pod_of(unit: str) -> Object:
    metadata = {"name": f"{unit}-x", "namespace": ACTIVE_NAMESPACE, "labels": object_labels(unit)}
    container = {"name": "runtime", "image": "i"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


class Issued:
    """A cluster and a queue with a running issuer; `secrets` is the test's own view."""

    def __init__(self, guarded: "Guarded", cluster: Cluster, units: Informer, secrets: Informer) -> None:
        self.guarded = guarded
        self.cluster = cluster
        self.units = units
        self.secrets = secrets

    async def secret(self, unit: str, wanted: Callable[[Object], bool] = lambda _: True) -> Object:
        """Wait for the unit's Secret."""

        def find(secrets: Informer) -> Object | None:
            found = secrets.get(ACTIVE_NAMESPACE, secret_name(unit))
            return found if found is not None and wanted(found) else None

        return await self.secrets.wait_for(find, TIMEOUT_S)

    async def queue_of(self, secret: Object, pool: str, unit: str) -> Queue:
        """Connect as the sidecar to which the Secret is mounted."""
        text = base64.b64decode(secret["data"][CREDENTIALS_KEY]).decode()
        return await self.guarded.queue(Access(Credentials(text), inbox_prefix=worker_inboxes(pool, unit)))


@pytest.fixture
async def issued(guarded: "Guarded", tmp_path: Path) -> AsyncIterator[Issued]:
    owner = await guarded.queue(guarded.roles.access("owner"))
    kubeconfig = tmp_path / "kubeconfig"
    async with KubeServer(ResourceStore()) as server:
        server.write_kubeconfig(kubeconfig)
        async with Cluster(kubeconfig, field_manager="test") as cluster, asyncio.TaskGroup() as tasks:
            units, secrets = Informer(cluster, GPUUNIT, ACTIVE_NAMESPACE), Informer(cluster, SECRET, ACTIVE_NAMESPACE)
            parts = [units.run(), secrets.run(), Issuer(cluster, units, owner, guarded.authority).run()]
            running = [tasks.create_task(part) for part in parts]
            await secrets.synced()
            yield Issued(guarded, cluster, units, secrets)
            for task in running:
                task.cancel()


def consumer_of(unit: str, pool: str) -> ConsumerSettings:
    return ConsumerSettings(sidecar_consumer(unit), SUBJECTS.dispatch(pool, unit), DISPATCH_ACK_WAIT_S, 10)


async def test_a_unit_gets_a_consumer_and_credentials_for_it(issued: Issued, admin: Queue) -> None:
    """S22, S23, C9: in a Secret of the unit's own, not in a URL."""
    unit = await issued.cluster.create(GPUUNIT, unit_of("u1", serverless={"requestID": "pool"}))
    secret = await issued.secret("u1")
    assert secret["metadata"]["labels"][UNIT_LABEL] == "u1"
    [reference] = secret["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["uid"], reference["controller"]) == ("GPUUnit", unit["metadata"]["uid"], True)
    queue = await issued.queue_of(secret, "pool", "u1")
    await admin.publish(SUBJECTS.dispatch("pool", "u1"), b"order", message_id="d1")
    consumer = await queue.consumer(consumer_of("u1", "pool"))
    [delivery] = await consumer.fetch(wait_s=TIMEOUT_S)
    await delivery.ack()
    await consumer.close()
    await queue.publish(SUBJECTS.result("pool"), b"{}", message_id="r1")


async def test_a_units_end_takes_the_secret_and_after_the_last_pod_the_consumer(issued: Issued, admin: Queue) -> None:
    """S13: the consumer of a dead worker is removed; while a pod is there its sidecar still drains."""
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless={"requestID": "pool"}))
    await issued.secret("u1")
    pods = Informer(issued.cluster, POD, ACTIVE_NAMESPACE)
    watching = asyncio.create_task(pods.run())
    await issued.cluster.create(POD, pod_of("u1"))
    await pods.wait_for(lambda known: known.objects() or None, TIMEOUT_S)
    async with admin.listen(f"{ADVISORY}.{sidecar_consumer('u1')}") as deletions:
        await issued.guarded.settle(admin)
        await issued.cluster.delete(GPUUNIT, "u1", ACTIVE_NAMESPACE)
        await issued.secrets.wait_for(lambda secrets: None if secrets.objects() else True, TIMEOUT_S)
        # Another unit's identity is issued after the deletion was seen, so it had its chance to take the consumer.
        await issued.cluster.create(GPUUNIT, unit_of("u2", serverless={"requestID": "pool"}))
        await issued.secret("u2")
        with pytest.raises(TimeoutError):
            await deletions.receive(0.01)
        await issued.cluster.delete(POD, "u1-x", ACTIVE_NAMESPACE, grace_period_s=0)
        assert b"u1" in await deletions.receive(TIMEOUT_S)
    watching.cancel()
    await asyncio.wait([watching])


async def test_a_unit_of_the_same_name_gets_an_identity_of_its_own(issued: Issued) -> None:
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless={"requestID": "pool"}))
    first = await issued.secret("u1")
    await issued.cluster.delete(GPUUNIT, "u1", ACTIVE_NAMESPACE)
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless={"requestID": "pool"}))
    second = await issued.secret("u1", lambda secret: bool(secret["metadata"]["uid"] != first["metadata"]["uid"]))
    assert second["data"] != first["data"]
    queue = await issued.queue_of(second, "pool", "u1")
    await (await queue.consumer(consumer_of("u1", "pool"))).close()


@pytest.mark.parametrize("how", ["deleted", "changed", "of an earlier platform"])
async def test_a_secret_is_put_right(issued: Issued, how: str) -> None:
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless={"requestID": "pool"}))
    first = await issued.secret("u1")
    if how == "deleted":
        await issued.cluster.delete(SECRET, secret_name("u1"), ACTIVE_NAMESPACE)
    else:
        old = base64.b64encode(how.encode()).decode()
        await issued.cluster.patch(SECRET, secret_name("u1"), {"data": {CREDENTIALS_KEY: old}}, ACTIVE_NAMESPACE)
    version = first["metadata"]["resourceVersion"]
    again = await issued.secret(
        "u1",
        lambda secret: secret["metadata"]["resourceVersion"] != version and secret["data"] == first["data"],
    )
    assert again["metadata"]["ownerReferences"] == first["metadata"]["ownerReferences"]


async def test_another_pool_is_another_identity(issued: Issued, admin: Queue) -> None:
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless={"requestID": "pool"}))
    first = await issued.secret("u1")
    await issued.cluster.patch(GPUUNIT, "u1", {"spec": {"serverless": {"requestID": "moved"}}}, ACTIVE_NAMESPACE)
    second = await issued.secret("u1", lambda secret: bool(secret["data"] != first["data"]))
    queue = await issued.queue_of(second, "moved", "u1")
    await queue.publish(SUBJECTS.result("moved"), b"{}", message_id="r1")
    await admin.publish(SUBJECTS.dispatch("moved", "u1"), b"order", message_id="d1")
    consumer = await queue.consumer(consumer_of("u1", "moved"))
    [delivery] = await consumer.fetch(wait_s=TIMEOUT_S)
    await delivery.ack()
    await consumer.close()


async def test_a_unit_that_is_serverless_no_more_loses_its_consumer(issued: Issued, admin: Queue) -> None:
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless={"requestID": "pool"}))
    await issued.secret("u1")
    async with admin.listen(f"{ADVISORY}.{sidecar_consumer('u1')}") as deletions:
        await issued.guarded.settle(admin)
        await issued.cluster.patch(GPUUNIT, "u1", {"spec": {"serverless": None}}, ACTIVE_NAMESPACE)
        assert b"u1" in await deletions.receive(TIMEOUT_S)


async def test_what_the_queue_refuses_is_tried_again(issued: Issued, admin: Queue) -> None:
    """Without its stream the queue takes no consumer; as soon as it does the unit gets its identity."""
    jetstream = admin._client.jetstream()
    config = (await jetstream.stream_info(STREAM)).config
    await jetstream.delete_stream(STREAM)
    await jetstream.add_stream(name=STREAM, subjects=["elsewhere"], max_consumers=1)
    await jetstream.add_consumer(STREAM, durable_name="takes-the-only-place")
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless={"requestID": "pool"}))
    await issued.units.wait_for(lambda units: units.objects() or None, TIMEOUT_S)
    assert issued.secrets.objects() == []
    await jetstream.delete_stream(STREAM)
    await jetstream.add_stream(config)
    await issued.secret("u1")


@pytest.mark.parametrize(
    "unit",
    [
        pytest.param(unit_of("plain"), id="not serverless"),
        pytest.param(unit_of("dotted.name", serverless={"requestID": "pool"}), id="a name that is no single token"),
        pytest.param(unit_of("broken", serverless={"requestID": "no pool!"}), id="a pool that is none"),
    ],
)
async def test_units_without_a_sidecar_get_nothing(issued: Issued, unit: Object) -> None:
    await issued.cluster.create(GPUUNIT, unit)
    await issued.cluster.create(GPUUNIT, unit_of("last", serverless={"requestID": "pool"}))
    await issued.secret("last")
    with pytest.raises(NotFoundError):
        await issued.cluster.get(SECRET, secret_name(unit["metadata"]["name"]), ACTIVE_NAMESPACE)
