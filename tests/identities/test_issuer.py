"""The issuer between the embedded Kubernetes API and a guarded queue: what a unit's sidecar gets, keeps and loses."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nats.errors import Error as NatsError

from sidecar.queue import Access, ConsumerSettings, Credentials, Queue, StreamSettings
from sidecar.subjects import sidecar_consumer, worker_inboxes
from simulator.errors import NotFoundError
from simulator.gpuunit import ACTIVE_NAMESPACE, UNIT_LABEL, object_labels
from simulator.identities import issuer
from simulator.identities.issuer import Issuer
from simulator.identities.secret import CREDENTIALS_KEY, credentials_in, secret_name
from simulator.jetstream.consumers import ConsumerState, consumer_names, consumer_state, pause_consumer
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT, POD, SECRET, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.worker_consumer import DISPATCH_ACK_WAIT_S

if TYPE_CHECKING:
    from tests.identities.conftest import Guarded

pytestmark = pytest.mark.e2e

TIMEOUT_S = 15.0
STREAM = "RUNTIME_SERVERLESS"
SUBJECTS = StreamSettings().subjects
SERVING = {"requestID": "pool"}


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

    def __init__(
        self,
        guarded: "Guarded",
        cluster: Cluster,
        units: Informer,
        secrets: Informer,
        start: Callable[[], asyncio.Task[None]],
    ) -> None:
        self.guarded = guarded
        self.cluster = cluster
        self.units = units
        self.secrets = secrets
        self._start = start
        self.issuer = start()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """While the block runs there is no issuer; afterwards there is another."""
        self.issuer.cancel()
        await asyncio.wait([self.issuer])
        yield
        self.issuer = self._start()

    def accounts(self) -> int:
        """How many workers' accounts the queue's server keeps, beside those of system and queue."""
        return len(list(self.guarded.accounts.glob("*"))) - 2

    async def refused(self, secret: Object, pool: str, unit: str) -> None:
        """Wait until the server refuses what a Secret held."""
        async with asyncio.timeout(TIMEOUT_S):
            while not (refusal := await self._refusal(access_of(secret, pool, unit))):
                pass
        assert "authorization violation" in refusal.lower()

    async def _refusal(self, access: Access) -> str:
        try:
            await (await self.guarded.peer(access)).client.close()
        except NatsError as error:
            return str(error)
        return ""

    async def secret(self, unit: str, wanted: Callable[[Object], bool] = lambda _: True) -> Object:
        """Wait for the unit's Secret."""

        def find(secrets: Informer) -> Object | None:
            found = secrets.get(ACTIVE_NAMESPACE, secret_name(unit))
            return found if found is not None and wanted(found) else None

        return await self.secrets.wait_for(find, TIMEOUT_S)

    async def no_secret(self, unit: str) -> None:
        """Wait until the unit has no Secret."""
        name = secret_name(unit)
        await self.secrets.wait_for(lambda secrets: None if secrets.get(ACTIVE_NAMESPACE, name) else True, TIMEOUT_S)

    async def serve(self, unit: str, serverless: Object | None) -> None:
        """Change the unit's serverless block; fields that are not named stay."""
        await self.cluster.patch(GPUUNIT, unit, {"spec": {"serverless": serverless}}, ACTIVE_NAMESPACE)

    async def queue_of(self, secret: Object, pool: str, unit: str) -> Queue:
        """Connect as the sidecar to which the Secret is mounted."""
        return await self.guarded.queue(access_of(secret, pool, unit))


def access_of(secret: Object, pool: str, unit: str) -> Access:
    return Access(Credentials(credentials_in(secret)), inbox_prefix=worker_inboxes(pool, unit))


@pytest.fixture
async def issued(guarded: "Guarded", tmp_path: Path) -> AsyncIterator[Issued]:
    owner = await guarded.queue(guarded.roles.access("owner"))
    kubeconfig = tmp_path / "kubeconfig"
    async with KubeServer(ResourceStore()) as server:
        server.write_kubeconfig(kubeconfig)
        async with Cluster(kubeconfig, field_manager="test") as cluster, asyncio.TaskGroup() as tasks:
            units, secrets = Informer(cluster, GPUUNIT, ACTIVE_NAMESPACE), Informer(cluster, SECRET, ACTIVE_NAMESPACE)
            watching = [tasks.create_task(part) for part in (units.run(), secrets.run())]
            accounts = await guarded.workers()

            def start() -> asyncio.Task[None]:
                return tasks.create_task(Issuer(cluster, units, owner, accounts).run())

            await secrets.synced()
            issued = Issued(guarded, cluster, units, secrets, start)
            yield issued
            for task in (*watching, issued.issuer):
                task.cancel()


class Looks:
    """What the issuer found whenever it looked at a consumer."""

    def __init__(self) -> None:
        self._found: asyncio.Queue[ConsumerState | None] = asyncio.Queue()

    async def at(self, queue: Queue, durable: str) -> ConsumerState | None:
        state = await consumer_state(queue, durable)
        self._found.put_nowait(state)
        return state

    async def next(self) -> ConsumerState | None:
        async with asyncio.timeout(TIMEOUT_S):
            return await self._found.get()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    looks = Looks()
    monkeypatch.setattr(issuer, "consumer_state", looks.at)
    return looks


async def left_of(admin: Queue, unit: str) -> tuple[str, int] | None:
    """The subject of the unit's consumer and how many dispatches it has still to deliver; None without one."""
    state = await consumer_state(admin, sidecar_consumer(unit))
    return None if state is None else (state.filter_subject, state.pending)


async def dispatch_to(admin: Queue, unit: str) -> str:
    """Give the unit something to do; returns the subject."""
    subject = SUBJECTS.dispatch("pool", unit)
    await admin.publish(subject, b"order", message_id=f"dispatch-{unit}")
    return subject


def consumer_of(unit: str, pool: str) -> ConsumerSettings:
    return ConsumerSettings(sidecar_consumer(unit), SUBJECTS.dispatch(pool, unit), DISPATCH_ACK_WAIT_S, 10)


async def test_a_unit_gets_a_consumer_and_credentials_for_it(issued: Issued, admin: Queue) -> None:
    """S22, S23, C9: in a Secret of the unit's own, not in a URL."""
    unit = await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
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


async def test_a_units_end_takes_the_secret_and_leaves_the_consumer(issued: Issued, admin: Queue) -> None:
    """S13: what a gone worker did not do hangs on its consumer, which is the activator's to empty and delete."""
    first = await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    await issued.secret("u1")
    subject = await dispatch_to(admin, "u1")
    await issued.cluster.delete(GPUUNIT, "u1", ACTIVE_NAMESPACE)
    await issued.no_secret("u1")
    # The next unit of the name is provided for after the issuer was done with the first one.
    second = await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    await issued.secret("u1")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert await left_of(admin, "u1") == (subject, 1)


async def test_while_a_pod_is_there_its_sidecar_drains_with_its_identity(issued: Issued) -> None:
    """S14: a unit that serves no more keeps its Secret until its last pod is gone."""
    await issued.cluster.create(POD, pod_of("u1"))
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    first = await issued.secret("u1")
    await issued.serve("u1", None)
    await issued.units.wait_for(lambda units: "serverless" not in units.objects()[0]["spec"] or None, TIMEOUT_S)
    # Another unit's identity is issued after the change was seen, so the issuer had its chance to take the Secret.
    await issued.cluster.create(GPUUNIT, unit_of("u2", serverless=SERVING))
    await issued.secret("u2")
    assert (await issued.secret("u1"))["data"] == first["data"]
    await issued.cluster.delete(POD, "u1-x", ACTIVE_NAMESPACE, grace_period_s=0)
    await issued.no_secret("u1")


async def test_a_unit_of_the_same_name_gets_an_identity_of_its_own(issued: Issued) -> None:
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    first = await issued.secret("u1")
    await issued.cluster.delete(GPUUNIT, "u1", ACTIVE_NAMESPACE)
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    second = await issued.secret("u1", lambda secret: bool(secret["metadata"]["uid"] != first["metadata"]["uid"]))
    assert second["data"] != first["data"]
    queue = await issued.queue_of(second, "pool", "u1")
    await (await queue.consumer(consumer_of("u1", "pool"))).close()


@pytest.mark.parametrize("how", ["deleted", "changed", "of an earlier platform"])
async def test_a_secret_is_put_right(issued: Issued, how: str) -> None:
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
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


async def test_another_pool_is_another_identity_once_the_former_consumer_is_gone(
    issued: Issued, admin: Queue, looks: Looks
) -> None:
    """S13: until the activator has moved what the former pool left and deleted the consumer, the new pod waits."""
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    first = await issued.secret("u1")
    assert await looks.next() is None
    subject = await dispatch_to(admin, "u1")
    await issued.serve("u1", {"requestID": "moved"})
    await issued.no_secret("u1")  # so that no pod of the new pool starts with the identity of the former one
    for _ in range(3):
        state = await looks.next()
        assert state is not None
        assert (state.filter_subject, state.pending) == (subject, 1)
    assert issued.secrets.objects() == []
    await admin.delete_consumer(sidecar_consumer("u1"))
    second = await issued.secret("u1")
    assert second["data"] != first["data"]
    queue = await issued.queue_of(second, "moved", "u1")
    await queue.publish(SUBJECTS.result("moved"), b"{}", message_id="r1")
    await admin.publish(SUBJECTS.dispatch("moved", "u1"), b"order", message_id="d1")
    consumer = await queue.consumer(consumer_of("u1", "moved"))
    [delivery] = await consumer.fetch(wait_s=TIMEOUT_S)
    await delivery.ack()
    await consumer.close()


async def test_a_unit_waits_while_the_consumer_of_its_name_is_emptied(
    issued: Issued, admin: Queue, looks: Looks
) -> None:
    """S13: the activator pauses the consumer of a lost worker first; a new unit of the name may not take from it."""
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    await issued.secret("u1")
    assert await looks.next() is None
    await issued.cluster.delete(GPUUNIT, "u1", ACTIVE_NAMESPACE)
    await issued.no_secret("u1")
    await pause_consumer(admin, sidecar_consumer("u1"))
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    for _ in range(3):
        state = await looks.next()
        assert state is not None
        assert state.paused
    assert issued.secrets.objects() == []
    await admin.delete_consumer(sidecar_consumer("u1"))
    await issued.secret("u1")
    state = await consumer_state(admin, sidecar_consumer("u1"))
    assert state is not None
    assert not state.paused


@pytest.mark.parametrize("switched_off", [None, {"templateOnly": True}], ids=["not serverless", "template only"])
async def test_a_unit_that_serves_no_more_loses_its_identity_and_leaves_its_consumer(
    issued: Issued, admin: Queue, switched_off: Object | None
) -> None:
    """S13, S23: when it serves again it gets a fresh one, and the activator decides about what it was given before."""
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    first = await issued.secret("u1")
    subject = await dispatch_to(admin, "u1")
    await issued.serve("u1", switched_off)
    await issued.no_secret("u1")
    assert await left_of(admin, "u1") == (subject, 1)
    await issued.serve("u1", {**SERVING, "templateOnly": None})
    second = await issued.secret("u1")
    assert second["data"] != first["data"]
    assert await left_of(admin, "u1") == (subject, 1)


async def test_s23_credentials_that_were_copied_are_refused_once_their_unit_is_gone(issued: Issued) -> None:
    """The others' stay good, and the server keeps nothing of it."""
    for name in ("u1", "u2"):
        await issued.cluster.create(GPUUNIT, unit_of(name, serverless=SERVING))
    copied, other = await issued.secret("u1"), await issued.secret("u2")
    live = await issued.queue_of(other, "pool", "u2")
    thief = await issued.guarded.peer(access_of(copied, "pool", "u1"))
    assert issued.accounts() == 2
    await issued.cluster.delete(GPUUNIT, "u1", ACTIVE_NAMESPACE)
    await issued.refused(copied, "pool", "u1")
    async with asyncio.timeout(TIMEOUT_S):
        await thief.closed.wait()  # the server ended the connection that it had
    assert issued.accounts() == 1
    assert live.connected
    await live.publish(SUBJECTS.result("pool"), b"{}", message_id="r1")
    await (await issued.queue_of(other, "pool", "u2")).publish(SUBJECTS.result("pool"), b"{}", message_id="r2")


async def test_s14_a_sidecar_that_drains_is_let_in_until_its_pod_is_gone(issued: Issued) -> None:
    await issued.cluster.create(POD, pod_of("u1"))
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    first = await issued.secret("u1")
    await issued.cluster.delete(GPUUNIT, "u1", ACTIVE_NAMESPACE)
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    second = await issued.secret("u1", lambda secret: bool(secret["data"] != first["data"]))
    await (await issued.queue_of(first, "pool", "u1")).publish(SUBJECTS.result("pool"), b"{}", message_id="r1")
    await issued.cluster.delete(POD, "u1-x", ACTIVE_NAMESPACE, grace_period_s=0)
    await issued.refused(first, "pool", "u1")
    await (await issued.queue_of(second, "pool", "u1")).publish(SUBJECTS.result("pool"), b"{}", message_id="r2")
    assert issued.accounts() == 1


async def test_the_next_issuer_takes_over_what_there_is_and_revokes_the_rest(issued: Issued) -> None:
    for name in ("stays", "goes", "drains"):
        await issued.cluster.create(GPUUNIT, unit_of(name, serverless=SERVING))
    secrets = {name: await issued.secret(name) for name in ("stays", "goes", "drains")}
    await issued.cluster.create(POD, pod_of("drains"))
    live = await issued.queue_of(secrets["stays"], "pool", "stays")
    async with issued.away():
        for name in ("goes", "drains"):
            await issued.cluster.delete(GPUUNIT, name, ACTIVE_NAMESPACE)
    await issued.cluster.create(GPUUNIT, unit_of("new", serverless=SERVING))
    await issued.secret("new")
    assert issued.accounts() == 4  # as long as a pod is there whose unit is not
    await issued.cluster.delete(POD, "drains-x", ACTIVE_NAMESPACE, grace_period_s=0)
    for name in ("goes", "drains"):
        await issued.refused(secrets[name], "pool", name)
    assert (await issued.secret("stays"))["metadata"]["resourceVersion"] == resource_version(secrets["stays"])
    assert live.connected
    assert issued.accounts() == 2


async def test_the_next_issuer_lets_a_sidecar_drain_whose_unit_was_made_anew(issued: Issued) -> None:
    pod = pod_of("u1")
    await issued.cluster.create(POD, {**pod, "metadata": {**pod["metadata"], "finalizers": ["test/drains"]}})
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    first = await issued.secret("u1")
    await issued.cluster.delete(POD, "u1-x", ACTIVE_NAMESPACE, grace_period_s=0)
    await issued.cluster.delete(GPUUNIT, "u1", ACTIVE_NAMESPACE)
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    await issued.secret("u1", lambda secret: bool(secret["data"] != first["data"]))
    async with issued.away():
        pass
    await issued.cluster.create(GPUUNIT, unit_of("new", serverless=SERVING))
    await issued.secret("new")
    await (await issued.queue_of(first, "pool", "u1")).publish(SUBJECTS.result("pool"), b"{}", message_id="r1")
    await issued.cluster.patch(POD, "u1-x", {"metadata": {"finalizers": None}}, ACTIVE_NAMESPACE)
    await issued.refused(first, "pool", "u1")
    assert issued.accounts() == 2


def resource_version(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])


async def test_what_the_queue_refuses_is_tried_again(issued: Issued, admin: Queue) -> None:
    """Without its stream the queue takes no consumer; as soon as it does the unit gets its identity."""
    jetstream = admin._client.jetstream()
    config = (await jetstream.stream_info(STREAM)).config
    await jetstream.delete_stream(STREAM)
    await jetstream.add_stream(name=STREAM, subjects=["elsewhere"], max_consumers=1)
    await jetstream.add_consumer(STREAM, durable_name="takes-the-only-place")
    await issued.cluster.create(GPUUNIT, unit_of("u1", serverless=SERVING))
    await issued.units.wait_for(lambda units: units.objects() or None, TIMEOUT_S)
    assert issued.secrets.objects() == []
    await jetstream.delete_stream(STREAM)
    await jetstream.add_stream(config)
    await issued.secret("u1")


@pytest.mark.parametrize(
    "unit",
    [
        pytest.param(unit_of("plain"), id="not serverless"),
        pytest.param(unit_of("pattern", serverless={**SERVING, "templateOnly": True}), id="a template only"),
        pytest.param(unit_of("dotted.name", serverless=SERVING), id="a name that is no single token"),
        pytest.param(unit_of("broken", serverless={"requestID": "no pool!"}), id="a pool that is none"),
    ],
)
async def test_units_without_a_sidecar_get_nothing(issued: Issued, admin: Queue, unit: Object) -> None:
    await issued.cluster.create(GPUUNIT, unit)
    await issued.cluster.create(GPUUNIT, unit_of("last", serverless=SERVING))
    await issued.secret("last")
    with pytest.raises(NotFoundError):
        await issued.cluster.get(SECRET, secret_name(unit["metadata"]["name"]), ACTIVE_NAMESPACE)
    assert sidecar_consumer("last") in (names := await consumer_names(admin))
    assert sidecar_consumer(unit["metadata"]["name"]) not in names
