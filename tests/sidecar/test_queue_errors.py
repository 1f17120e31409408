"""What nats-py raises becomes ours, and what it swallows does not."""

import asyncio

import nats.errors
import nats.js.errors
import pytest

from sidecar.queue_errors import (
    CancellationKept,
    MessageTooLargeError,
    QueueError,
    QueueRefusedError,
    QueueUnavailableError,
    translated,
)


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
