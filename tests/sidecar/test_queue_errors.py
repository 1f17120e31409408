"""What nats-py raises becomes ours, and what it swallows does not."""

import asyncio

import msgspec
import nats.errors
import nats.js.errors
import pytest

from sidecar.queue_errors import (
    CancellationKept,
    MessageTooLargeError,
    QueueError,
    QueueRefusedError,
    QueueUnavailableError,
    TtlRefusedError,
    WrongSequenceError,
    translated,
)
from sidecar.stored import Published, published


@pytest.mark.parametrize(
    ("raised", "ours"),
    [
        (nats.errors.MaxPayloadError(), MessageTooLargeError),
        (nats.errors.TimeoutError(), QueueUnavailableError),
        (nats.errors.ConnectionClosedError(), QueueUnavailableError),
        (OSError("reset"), QueueUnavailableError),
        (nats.js.errors.NoStreamResponseError(), QueueRefusedError),
        (nats.js.errors.NotFoundError(code=404, description="consumer not found"), QueueRefusedError),
        (nats.js.errors.ServiceUnavailableError(code=503, description="no leader"), QueueUnavailableError),
    ],
)
async def test_errors_are_classified_and_name_the_operation(raised: Exception, ours: type[QueueError]) -> None:
    with pytest.raises(ours, match="publish to x: ") as caught, translated("publish to x"):
        raise raised
    assert caught.type is ours
    assert caught.value.__cause__ is raised


def test_where_a_message_was_stored_is_read() -> None:
    assert published(b'{"stream":"S","seq":7,"domain":"d"}') == Published("S", 7, duplicate=False)
    assert published(b'{"stream":"S","seq":7,"duplicate":true}') == Published("S", 7, duplicate=True)


@pytest.mark.parametrize(
    ("code", "err_code", "error"),
    [
        (400, 10166, TtlRefusedError),
        (400, 10071, WrongSequenceError),
        (400, 10060, QueueRefusedError),
        (503, 10008, QueueUnavailableError),
    ],
)
def test_what_the_server_says_to_a_publish_is_classified(code: int, err_code: int, error: type[QueueError]) -> None:
    answer = msgspec.json.encode({"error": {"code": code, "err_code": err_code, "description": "no"}, "seq": 0})
    with pytest.raises(error, match="no") as caught:
        published(answer)
    assert caught.type is error


@pytest.mark.parametrize("answer", [b"", b"+OK", b'{"seq":"x"}'])
def test_what_is_no_answer_to_a_publish_is_refused(answer: bytes) -> None:
    with pytest.raises(QueueRefusedError, match="not an answer of JetStream"):
        published(answer)


async def test_our_own_and_foreign_errors_pass() -> None:
    with pytest.raises(QueueRefusedError, match="as it is"), translated("x"):
        raise QueueRefusedError("as it is")
    with pytest.raises(KeyError), translated("x"):
        raise KeyError("a bug")


@pytest.mark.parametrize("guard", [CancellationKept, lambda: translated("x")])
async def test_a_swallowed_cancellation_is_raised(guard: type[CancellationKept]) -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    waiting = asyncio.Event()

    async def wait() -> None:
        with guard():
            waiting.set()
            await asyncio.wait_for(answer, 10)

    task = asyncio.create_task(wait())
    await waiting.wait()
    answer.set_result("just now")
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_cancellation_from_before_the_block_does_not_count() -> None:
    """Clean-up code runs in a task that is being cancelled, and must get through."""
    cleaned = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with translated("ack"):
                await asyncio.sleep(0)
            cleaned.set()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert cleaned.is_set()
