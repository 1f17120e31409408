"""What JetStream answers becomes a value or the right error."""

from typing import Any

import msgspec
import pytest

from sidecar.queue import QueueRefusedError, QueueUnavailableError
from simulator.jetstream.consumers import consumer_names, consumer_state, pause_consumer
from simulator.jetstream.requests import NotThereError, ask
from simulator.jetstream.stored import delete_message, stored_message


class StubStream:
    name = "S"


class StubQueue:
    """Answers requests in turn and notes them."""

    stream = StubStream()

    def __init__(self, *answers: bytes | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, bytes]] = []

    async def request(self, subject: str, body: bytes) -> bytes:
        self.asked.append((subject, body))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Number(msgspec.Struct):
    number: int


def refusal(code: int, description: str = "said the server") -> bytes:
    return msgspec.json.encode({"error": {"code": code, "err_code": 1, "description": description}})


async def test_a_request_is_json_there_and_back() -> None:
    queue = StubQueue(b'{"type":"x","number":3}', b'{"number":4}')
    assert await ask(queue, "STREAM.INFO.S", None, Number) == Number(3)  # type: ignore[arg-type]
    assert await ask(queue, "STREAM.MSG.GET.S", {"seq": 1}, Number) == Number(4)  # type: ignore[arg-type]
    assert queue.asked == [("$JS.API.STREAM.INFO.S", b""), ("$JS.API.STREAM.MSG.GET.S", b'{"seq":1}')]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(404), NotThereError),
        (refusal(400), QueueRefusedError),
        (refusal(403), QueueRefusedError),
        (refusal(500), QueueUnavailableError),
        (refusal(503), QueueUnavailableError),
        (QueueUnavailableError("STREAM.INFO.S said the server"), QueueUnavailableError),
        (QueueRefusedError("STREAM.INFO.S said the server"), QueueRefusedError),
    ],
)
async def test_a_refusal_is_told_apart_and_named(answer: bytes | Exception, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"STREAM\.INFO\.S.*said the server") as caught:
        await ask(StubQueue(answer), "STREAM.INFO.S", None, Number)  # type: ignore[arg-type]
    assert caught.type is error


@pytest.mark.parametrize("answer", [b"", b"+OK", b"{}", b"[]", b'{"number":"x"}', b'{"error":1}', b'{"number":\xff}'])
async def test_what_is_no_answer_of_jetstream_is_refused(answer: bytes) -> None:
    with pytest.raises(QueueRefusedError, match=r"STREAM\.INFO\.S: not an answer of JetStream"):
        await ask(StubQueue(answer), "STREAM.INFO.S", None, Number)  # type: ignore[arg-type]


async def test_what_is_not_there_is_no_error() -> None:
    queue: Any = StubQueue(*[refusal(404)] * 5)
    assert await stored_message(queue, sequence=1) is None
    assert await consumer_state(queue, "c") is None
    assert await delete_message(queue, 1) is False
    assert await pause_consumer(queue, "c") is False


async def test_a_message_that_cannot_be_deleted_is_an_error_only_while_it_is_there() -> None:
    there = b'{"message":{"subject":"s","seq":1,"time":"2026-03-04T05:06:07Z"}}'
    with pytest.raises(QueueUnavailableError, match="said the server"):
        await delete_message(StubQueue(refusal(500), there), 1)  # type: ignore[arg-type]
    assert await delete_message(StubQueue(refusal(500), refusal(404)), 1) is False  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [400, 503])
async def test_other_refusals_are_errors(code: int) -> None:
    error = QueueRefusedError if code < 500 else QueueUnavailableError
    queue: Any = StubQueue(refusal(code), refusal(code))
    with pytest.raises(error):
        await stored_message(queue, sequence=1)
    with pytest.raises(error):
        await consumer_names(queue)


async def test_names_are_read_page_by_page() -> None:
    def page(total: int, *names: str) -> bytes:
        return msgspec.json.encode({"total": total, "offset": 0, "limit": 2, "consumers": names or None})

    queue: Any = StubQueue(page(3, "a", "b"), page(3, "c"))
    assert await consumer_names(queue) == ["a", "b", "c"]
    assert [body for _, body in queue.asked] == [b'{"offset":0}', b'{"offset":2}']
    assert await consumer_names(StubQueue(page(0))) == []  # type: ignore[arg-type]
    assert await consumer_names(StubQueue(page(3, "a", "b"), page(2))) == ["a", "b"]  # type: ignore[arg-type]
