"""One subscription for all replies (contract 2.1)."""

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from sidecar.queue import QueueUnavailableError
from simulator.api.replies import Replies

if TYPE_CHECKING:
    from tests.api.conftest import Api, StubQueue


async def test_all_calls_share_one_subscription(api: "Api", queue: "StubQueue") -> None:
    queue.reply = b'{"invocationID":"x","serverlessRequestID":"tts"}'
    answers = await asyncio.gather(*(api.invoke(mode="sync") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len(queue.heard) == 1
    assert len({publication.message.reply_subject for publication in queue.publications}) == 20


async def test_each_call_hears_its_own_reply(queue: "StubQueue") -> None:
    replies = Replies(queue)
    await replies.open()
    with replies.expected() as first, replies.expected() as second:
        queue.deliver(second.subject, b"2")
        queue.deliver(first.subject, b"1")
        queue.deliver(first.subject, b"again")
        assert [await first.body, await second.body] == [b"1", b"2"]
    queue.deliver(first.subject, b"late")
    assert replies._waiting == {}


async def test_a_reply_subject_gives_no_other_away(queue: "StubQueue") -> None:
    """Workers are told theirs, and may publish to every inbox."""
    replies = Replies(queue)
    await replies.open()
    with replies.expected() as one, replies.expected() as other:
        # Below where this identity may listen, and without the client's own inbox name.
        assert re.fullmatch(r"_INBOX\.stub\.[0-9a-f]{32}\.[0-9a-f]{32}", one.subject)
        assert one.subject.rpartition(".")[0] == other.subject.rpartition(".")[0]
        assert one.subject != other.subject


async def test_a_subscription_that_failed_is_tried_again(queue: "StubQueue", monkeypatch: pytest.MonkeyPatch) -> None:
    replies = Replies(queue)
    with monkeypatch.context() as context:

        async def refuse(*_: object) -> None:
            raise QueueUnavailableError("away")

        context.setattr(queue, "hear", refuse)
        with pytest.raises(QueueUnavailableError):
            await replies.open()
    await asyncio.gather(*(replies.open() for _ in range(5)))
    assert len(queue.heard) == 1
