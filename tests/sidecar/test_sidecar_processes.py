"""The real sidecar against a stock nats-server and real framework processes (contract 7, and its weaknesses)."""

import signal
from typing import TYPE_CHECKING

import msgspec
import nats
import pytest

from framework.contract import ZERO_TIME
from sidecar.messages import SYNC

if TYPE_CHECKING:
    from tests.sidecar.conftest import Bench

pytestmark = pytest.mark.e2e


async def test_the_sidecar_may_start_before_the_framework(bench: "Bench") -> None:
    await bench.nats()
    async with bench.queue() as queue, queue.inbox() as inbox:
        journal = await bench.journal(queue)
        data = bench.order("inv-1", mode=SYNC, reply_subject=inbox.subject, content_type="application/json")
        await bench.dispatch(queue, data, "d1")
        sidecar = await bench.sidecar()
        assert await bench.http_until("/healthz", lambda status, _body: status == 200) == b"ok"
        body = await bench.http_until("/readyz", lambda _status, body: b'"nats":true' in body)
        assert body == b'{"nats":true,"consumer":false,"framework":false,"registered":false}'
        await journal.until("dispatch")
        assert journal.kinds() == []
        await bench.echo()
        await journal.until("invocation_finished")
        assert journal.kinds()[:2] == ["registered", "invocation_started"]
        assert sorted(journal.kinds()[2:]) == ["invocation_finished", "result"]
        (result,) = journal.of("result")
        assert result["body"] == {
            "attributes": None,
            "contentType": "application/json",
            "invocationID": "inv-1",
            "payload": {"log": str(bench.runs)},
            "serverlessRequestID": "pool",
            "workerName": "w1",
            "workerNamespace": "runtime-instance",
        }
        assert msgspec.json.decode(await inbox.receive(10)) == result
        await bench.http_until("/readyz", lambda status, _body: status == 200)
        assert await sidecar.end() == 0
    assert all(line["worker"] == "w1" for line in bench.sidecar_log())


async def test_the_sidecar_may_start_before_the_server(bench: "Bench") -> None:
    sidecar = await bench.sidecar()
    await bench.echo()
    await bench.http_until("/readyz", lambda status, _body: status == 503)
    await bench.nats()
    await bench.http_until("/readyz", lambda status, _body: status == 200)
    assert await sidecar.end() == 0


async def test_a_message_delivered_twice_runs_once(bench: "Bench") -> None:
    await bench.nats()
    await bench.worker()
    await bench.sidecar()
    async with bench.queue() as queue, queue.inbox() as inbox:
        journal = await bench.journal(queue)
        data = bench.order("inv-1", reply_subject=inbox.subject)
        await bench.dispatch(queue, data, "d1")
        await bench.dispatch(queue, data, "d2")
        replies = [await inbox.receive(20), await inbox.receive(20)]
        await journal.until("invocation_finished")
        assert replies[0] == replies[1]
        assert journal.kinds().count("result") == 1
    assert bench.ran() == ["inv-1"]


async def test_a_sidecar_killed_in_a_call_leaves_it_to_its_successor(bench: "Bench") -> None:
    await bench.nats()
    await bench.worker()
    sidecar = await bench.sidecar(SERVERLESS_DISPATCH_ACK_WAIT="1s")
    async with bench.queue() as queue:
        journal = await bench.journal(queue)
        fifo = bench.fifo("hold")
        await bench.dispatch(queue, bench.order("inv-1", fifo), "d1")
        release = await bench.opened(fifo)
        await sidecar.end(signal.SIGKILL)
        release()
        await bench.sidecar(SERVERLESS_DISPATCH_ACK_WAIT="1s")
        release = await bench.opened(fifo)
        release()
        await journal.until("invocation_finished")
        (result,) = await journal.until("result")
    assert result["state"] == "succeeded"
    assert bench.ran() == ["inv-1", "inv-1"]


async def test_a_call_longer_than_the_ack_wait_is_not_repeated(bench: "Bench") -> None:
    await bench.nats()
    await bench.worker()
    await bench.sidecar(SERVERLESS_DISPATCH_ACK_WAIT="1s")
    async with bench.queue() as queue:
        journal = await bench.journal(queue)
        fifo = bench.fifo("hold")
        async with queue.listen("$JS.ACK.>") as acks:
            await bench.dispatch(queue, bench.order("inv-1", fifo), "d1")
            release = await bench.opened(fifo)
            progress = 0
            while progress < 5:
                progress += await acks.receive(10) == b"+WPI"
        release()
        await journal.until("invocation_finished")
        assert journal.kinds().count("result") == 1
    assert bench.ran() == ["inv-1"]
    assert [line for line in bench.sidecar_log() if "redelivered" in line["event"]] == []


async def test_a_framework_killed_in_a_call_fails_that_call_only(bench: "Bench") -> None:
    await bench.nats()
    framework = await bench.worker()
    await bench.sidecar()
    async with bench.queue() as queue:
        journal = await bench.journal(queue)
        fifo = bench.fifo("hold")
        await bench.dispatch(queue, bench.order("inv-1", fifo), "d1")
        release = await bench.opened(fifo)
        await framework.end(signal.SIGKILL)
        release()
        (first,) = await journal.until("result")
        assert (first["state"], first["failureClass"], first["statusCode"]) == ("failed", "framework_error", 502)
        await bench.http_until("/readyz", lambda status, body: status == 503 and b'"framework":false' in body)
        await bench.dispatch(queue, bench.order("inv-2"), "d2")
        successor = await bench.worker()
        _, second = await journal.until("result", 2)
        assert (second["state"], second["body"]) == ("succeeded", {"pid": successor.pid})
    assert bench.ran() == ["inv-1", "inv-2"]


async def test_the_time_budget_ends_a_call(bench: "Bench") -> None:
    await bench.nats()
    await bench.worker()
    await bench.sidecar()
    async with bench.queue() as queue:
        journal = await bench.journal(queue)
        fifo = bench.fifo("hold")
        await bench.dispatch(queue, bench.order("inv-1", fifo, timeout_seconds=1, dispatched_at=ZERO_TIME), "d1")
        release = await bench.opened(fifo)
        (result,) = await journal.until("result")
        release()
    assert (result["state"], result["failureClass"], result["statusCode"]) == ("expired", "framework_timeout", 504)


async def test_sigterm_finishes_the_call_and_leaves_the_rest(bench: "Bench") -> None:
    await bench.nats()
    await bench.worker()
    sidecar = await bench.sidecar()
    async with bench.queue() as queue:
        journal = await bench.journal(queue)
        fifo = bench.fifo("hold")
        await bench.dispatch(queue, bench.order("inv-1", fifo), "d1")
        release = await bench.opened(fifo)
        await bench.dispatch(queue, bench.order("inv-2"), "d2")
        sidecar.signal(signal.SIGTERM)
        await bench.logged("draining")
        release()
        assert await sidecar.ended() == 0
        (result,) = await journal.until("result")
        assert (result["invocationID"], result["state"]) == ("inv-1", "succeeded")
        assert len(await journal.until("invocation_finished")) == 1
        assert bench.ran() == ["inv-1"]
        await bench.sidecar()
        _, second = await journal.until("result", 2)
        assert second["invocationID"] == "inv-2"
    assert bench.ran() == ["inv-1", "inv-2"]


async def test_a_second_signal_ends_it_at_once(bench: "Bench") -> None:
    await bench.nats()
    await bench.worker()
    sidecar = await bench.sidecar()
    async with bench.queue() as queue:
        fifo = bench.fifo("hold")
        await bench.dispatch(queue, bench.order("inv-1", fifo), "d1")
        release = await bench.opened(fifo)
        sidecar.signal(signal.SIGTERM)
        await bench.logged("draining")
        assert await sidecar.end(signal.SIGTERM) == 128 + signal.SIGTERM
        release()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_it_waits_ends_it_with_0(bench: "Bench", number: signal.Signals) -> None:
    sidecar = await bench.sidecar()
    await bench.http_until("/healthz", lambda status, _body: status == 200)
    assert await sidecar.end(number) == 0


async def test_a_restarted_server_is_found_again(bench: "Bench") -> None:
    server = await bench.nats()
    await bench.worker()
    await bench.sidecar()
    async with bench.queue() as queue:
        await bench.dispatch(queue, bench.order("inv-1"), "d1")
        await (await bench.journal(queue)).until("result")
    await server.end()
    await bench.http_until("/readyz", lambda _status, body: b'"nats":false' in body)
    await bench.nats()
    async with bench.queue() as queue:
        await bench.dispatch(queue, bench.order("inv-2"), "d2")
        journal = await bench.journal(queue)
        assert [result["invocationID"] for result in await journal.until("result", 1)] == ["inv-2"]
    assert bench.ran() == ["inv-1", "inv-2"]


async def test_a_malformed_dispatch_is_dead_lettered_and_answered(bench: "Bench") -> None:
    await bench.nats()
    await bench.worker()
    await bench.sidecar()
    async with bench.queue() as queue:
        journal = await bench.journal(queue)
        await bench.dispatch(queue, b"\xff\x00 not json", "d1")
        await bench.dispatch(queue, b'{"invocationID":"inv-2","serverlessRequestID":"pool"}', "d2")
        await bench.dispatch(queue, bench.order("inv-3"), "d3")
        first, second = await journal.until("dlq", 2)
        failed, succeeded = await journal.until("result", 2)
    assert first["payload"] == {"base64": "/wAgbm90IGpzb24="}
    assert second["payload"] == {"invocationID": "inv-2", "serverlessRequestID": "pool"}
    assert {first["failureClass"], second["failureClass"]} == {"malformed_message"}
    results = {result["invocationID"]: result["state"] for result in (failed, succeeded)}
    assert results == {"inv-2": "failed", "inv-3": "succeeded"}


async def test_heartbeats_follow_the_registration(bench: "Bench") -> None:
    await bench.nats()
    await bench.echo()
    await bench.sidecar(SERVERLESS_HEARTBEAT_INTERVAL="50ms")
    async with bench.queue() as queue:
        journal = await bench.journal(queue)
        beats = await journal.until("heartbeat", 3)
    assert journal.entries[0][0] == "registered"
    assert {(beat["workerName"], beat.get("inflight", 0)) for beat in beats} == {("w1", 0)}
    assert len({beat["reportedAt"] for beat in beats}) == len(beats)


async def test_wrong_settings_end_it_with_one_line_each(bench: "Bench") -> None:
    sidecar = await bench.sidecar(
        SERVERLESS_NATS_URL="http://user:secret@x", SERVERLESS_HEARTBEAT_INTERVAL="0s", SERVERLESS_REQUEST_ID=""
    )
    assert await sidecar.ended() == 1
    lines = sidecar.log.read_text().splitlines()
    assert sorted(line.split()[1].rstrip(":") for line in lines) == [
        "SERVERLESS_HEARTBEAT_INTERVAL",
        "SERVERLESS_NATS_URL",
        "SERVERLESS_REQUEST_ID",
    ]
    assert "secret" not in sidecar.log.read_text()


async def test_a_taken_health_port_ends_it_with_one_line(bench: "Bench") -> None:
    await bench.sidecar()
    await bench.http_until("/healthz", lambda status, _body: status == 200)
    second = await bench.sidecar(name="second")
    assert await second.ended() == 1
    (line,) = second.log.read_text().splitlines()
    assert str(bench.health_port) in line


async def test_credentials_and_payloads_stay_out_of_the_log(bench: "Bench") -> None:
    await bench.nats()
    await bench.worker()
    sidecar = await bench.sidecar(SERVERLESS_NATS_URL=f"nats://user:s3cret@127.0.0.1:{bench.nats_port}")
    async with bench.queue() as queue:
        journal = await bench.journal(queue)
        await bench.dispatch(queue, bench.order("inv-1"), "d1")
        await bench.dispatch(queue, b'{"payload":"pr1vate"', "d2")
        await journal.until("result")
        await journal.until("dlq")
    assert await sidecar.end() == 0
    text = (bench.directory / "sidecar.log").read_text()
    assert bench.sidecar_log()
    assert "s3cret" not in text
    assert "pr1vate" not in text
    assert str(bench.runs) not in text


async def test_s21_an_existing_stream_is_never_altered(bench: "Bench") -> None:
    await bench.nats()
    url = bench.environ["SERVERLESS_NATS_URL"]
    async with await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.05) as client:
        # A chapter-15 stream with settings of its own: no DLQ subjects, a shorter life.
        subjects = [f"runtime.serverless.{family}" for family in ("invoke.*", "dispatch.*.*", "result.*", "metrics.*")]
        manager = client.jetstream()
        await manager.add_stream(name="RUNTIME_SERVERLESS", subjects=subjects, max_age=3600, duplicate_window=60)
        before = (await manager.stream_info("RUNTIME_SERVERLESS")).config
        await bench.echo()
        await bench.sidecar()
        await bench.http_until("/readyz", lambda status, _body: status == 200)
        assert (await manager.stream_info("RUNTIME_SERVERLESS")).config == before
