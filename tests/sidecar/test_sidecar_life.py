"""What platform and people see of a running sidecar: cancels, health events, metrics, heartbeats, TLS, its farewell."""

import asyncio
import signal
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import nats
import pytest
import trustme

from sidecar.concurrency import max_ack_pending
from sidecar.queue import Access, ConsumerSettings, Queue, StreamSettings
from simulator.identities import permissions
from simulator.identities.authority import Authority
from simulator.nats_server import NatsServer, ServerTls
from simulator.processes.spawn import Processes

if TYPE_CHECKING:
    from tests.sidecar.conftest import Bench

pytestmark = pytest.mark.e2e


async def test_s8_a_cancel_ends_the_running_call(bench: "Bench") -> None:
    await bench.nats()
    await bench.worker()
    await bench.sidecar()
    async with bench.queue() as queue:
        journal = await bench.journal(queue)
        fifo = bench.fifo("hold")
        await bench.dispatch(queue, bench.order("inv-1", fifo), "d1")
        release = await bench.opened(fifo)
        subject = queue.subjects.cancel("pool", "w1")
        await queue.send(subject, b"nonsense")
        await queue.send(subject, b'{"invocationID":"another"}')
        await queue.send(subject, b'{"invocationID":"inv-1"}')
        (result,) = await journal.until("result")
        release()
        assert (result["state"], result["failureClass"], result["statusCode"]) == ("failed", "cancelled", 499)
        await bench.dispatch(queue, bench.order("inv-2"), "d2")
        _, second = await journal.until("result", 2)
        assert second["state"] == "succeeded"


async def test_s2_s14_health_and_farewell_are_reported(bench: "Bench") -> None:
    await bench.nats()
    framework = await bench.worker()
    sidecar = await bench.sidecar()
    async with bench.queue() as queue:
        journal = await bench.journal(queue)
        await journal.until("registered")
        await framework.end(signal.SIGKILL)
        await journal.until("framework_unhealthy")
        status, body = await bench.http("/readyz")
        assert (status, msgspec.json.decode(body)["framework"]) == (503, False)
        assert (await bench.http("/healthz"))[0] == 200
        await bench.dispatch(queue, bench.order("inv-1"), "d1")
        await bench.worker()
        await journal.until("framework_healthy")
        await journal.until("invocation_finished")
        assert await sidecar.end() == 0
        await journal.until("deregistered")
        kinds = journal.kinds()
        assert [kind for kind in kinds if not kind.startswith("invocation") and kind != "result"] == [
            "registered",
            "framework_unhealthy",
            "framework_healthy",
            "deregistered",
        ]
        assert kinds[-1] == "deregistered"


async def test_s14_a_drain_before_the_stop_lets_the_call_end_and_starts_no_other(bench: "Bench") -> None:
    """As a preStop hook of the framework's container asks for it: the framework is stopped first, on a cluster."""
    await bench.nats()
    framework = await bench.worker()
    sidecar = await bench.sidecar()
    async with bench.queue() as queue:
        journal = await bench.journal(queue)
        fifo = bench.fifo("hold")
        await bench.dispatch(queue, bench.order("inv-1", fifo), "d1")
        release = await bench.opened(fifo)
        await bench.dispatch(queue, bench.order("inv-2"), "d2")
        drain = asyncio.create_task(bench.http("/drain"))
        await bench.logged("drain asked for")
        release()
        assert await drain == (200, b"drained\n")
        assert await framework.end() in {0, -signal.SIGTERM}
        assert await sidecar.end() == 0
        [first] = await journal.until("result")
        assert (first["invocationID"], first["state"]) == ("inv-1", "succeeded")
        await bench.worker()
        await bench.sidecar()
        _, second = await journal.until("result", 2)
        assert (second["invocationID"], second["state"]) == ("inv-2", "succeeded")
    assert bench.ran() == ["inv-1", "inv-2"]


async def test_s14_a_framework_killed_in_the_drain_leaves_its_call_to_another_sidecar(bench: "Bench") -> None:
    """So a pod ends whose time is too short for its calls: its containers are killed, the framework's first."""
    await bench.nats()
    framework = await bench.worker()
    sidecar = await bench.sidecar()
    async with bench.queue() as queue:
        journal = await bench.journal(queue)
        fifo = bench.fifo("hold")
        await bench.dispatch(queue, bench.order("inv-1", fifo), "d1")
        release = await bench.opened(fifo)
        drain = asyncio.create_task(bench.http("/drain"))
        await bench.logged("drain asked for")
        await framework.end(signal.SIGKILL)
        release()
        assert await drain == (200, b"drained\n")
        assert await sidecar.end() == 0
        await journal.until("deregistered")
        assert journal.of("result") == []
        await bench.worker()
        await bench.sidecar()
        release = await bench.opened(fifo)
        release()
        [result] = await journal.until("result")
        assert (result["invocationID"], result["state"]) == ("inv-1", "succeeded")
    assert bench.ran() == ["inv-1", "inv-1"]


async def test_s30_what_happened_can_be_scraped(bench: "Bench") -> None:
    await bench.nats()
    await bench.worker()
    await bench.sidecar()
    async with bench.queue() as queue:
        journal = await bench.journal(queue)
        await bench.dispatch(queue, bench.order("inv-1"), "d1")
        await bench.dispatch(queue, b"nonsense", "d2")
        await journal.until("invocation_finished")
        await journal.until("dlq")
    status, body = await bench.http("/metrics")
    lines = body.decode().splitlines()
    assert status == 200
    assert 'serverless_sidecar_invocations_total{failure_class="",outcome="succeeded"} 1.0' in lines
    assert 'serverless_sidecar_dead_letters_total{failure_class="malformed_message"} 1.0' in lines
    assert 'serverless_sidecar_info{namespace="runtime-instance",pool="pool",worker="w1"} 1.0' in lines
    assert {"serverless_sidecar_inflight 0.0", "serverless_sidecar_ready 1.0"} <= set(lines)
    assert "inv-1" not in body.decode()


async def test_s15_heartbeats_are_stored_for_three_intervals(bench: "Bench") -> None:
    await bench.nats()
    await bench.worker()
    await bench.sidecar(SERVERLESS_HEARTBEAT_INTERVAL="300ms")
    async with bench.queue() as queue:
        await (await bench.journal(queue)).until("heartbeat")
        async with await nats.connect(bench.environ["SERVERLESS_NATS_URL"]) as client:
            last = await client.jetstream().get_last_msg("RUNTIME_SERVERLESS", queue.subjects.metrics("pool"))
    assert last.data is not None
    assert msgspec.json.decode(last.data)["eventType"] == "heartbeat"
    assert (last.headers or {})["Nats-TTL"] == "1s"


async def test_s22_tls_and_credentials_from_files(bench: "Bench", processes: Processes, tmp_path: Path) -> None:
    """A server that takes TLS and identities only; the worker's own may use its consumer, not make it (S23)."""
    ca, files = trustme.CA(), {name: tmp_path / name for name in ("ca", "cert", "key", "server", "server-key", "creds")}
    ca.cert_pem.write_to_path(files["ca"])
    for issued, cert, key in (
        (ca.issue_cert("127.0.0.1"), "server", "server-key"),
        (ca.issue_cert("w1"), "cert", "key"),
    ):
        issued.cert_chain_pems[0].write_to_path(files[cert])
        issued.private_key_pem.write_to_path(files[key])
    stream = StreamSettings()
    authority = Authority(tmp_path / "accounts", stream)
    tls = ServerTls(files["server"], files["server-key"], client_ca=files["ca"])
    owner = authority.access("owner", permissions.owner(stream))
    settings = {
        "SERVERLESS_NATS_CREDENTIALS_FILE": str(files["creds"]),
        "SERVERLESS_NATS_CA_FILE": str(files["ca"]),
        "SERVERLESS_NATS_CERT_FILE": str(files["cert"]),
        "SERVERLESS_NATS_KEY_FILE": str(files["key"]),
    }
    async with NatsServer(processes, tmp_path / "nats", authority=authority, tls=tls) as server:
        context = _client_context(ca)
        issuer = authority.accounts_access()
        access = Access(issuer.credentials, context, issuer.inbox_prefix)
        async with Queue.connect(server.url, client_name="issuer", access=access) as accounts:
            mine = await authority.of_workers(accounts).issue("w1", permissions.worker(stream, "pool", "w1"))
        assert mine.credentials
        files["creds"].write_text(mine.credentials.text)
        await bench.worker()
        await bench.sidecar(SERVERLESS_NATS_URL=server.url, **settings)
        access = Access(owner.credentials, context, owner.inbox_prefix)
        async with Queue.connect(server.url, client_name="owner", access=access) as queue:
            await queue.ensure_stream()
            consumer = ConsumerSettings(
                durable="serverless-sidecar-w1",
                filter_subject=queue.subjects.dispatch("pool", "w1"),
                ack_wait_s=300,
                max_ack_pending=max_ack_pending(1),
            )
            await (await queue.consumer(consumer)).close()
            await bench.http_until("/readyz", lambda status, _body: status == 200)
    assert "BEGIN" not in (bench.directory / "sidecar.log").read_text()


def _client_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    ca.issue_cert("owner").configure_cert(context)
    return context
