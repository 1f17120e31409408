"""The routes of dead letters: list, read, queue again, drop. A dead letter is named by its sequence in the stream."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from aiohttp import web

from sidecar.messages import utc_now
from sidecar.queue import Queue
from simulator.api.dead_letter_bodies import receipt_of, summary_of, view_of
from simulator.api.envelope import SERVICE_UNAVAILABLE, ApiError, data_response
from simulator.api.invocations_request import parse_limit, parse_pool
from simulator.api.request_body import InvalidRequestError
from simulator.dead_letter_rules import SOURCES, NotRetryableError
from simulator.dead_letters import DeadLetterNotFoundError, DeadLetters

LIST_FALLBACK_CODE: Final = "list_dead_letters_failed"
GET_FALLBACK_CODE: Final = "get_dead_letter_failed"
RETRY_FALLBACK_CODE: Final = "retry_dead_letter_failed"
DROP_FALLBACK_CODE: Final = "drop_dead_letter_failed"

DEAD_LETTER_NOT_FOUND: Final = "dead_letter_not_found"
NOT_RETRYABLE: Final = "not_retryable"

_SEQUENCE = re.compile(r"[1-9][0-9]{0,18}")
"""As the server counts, in 64 bits; written as short as can be."""


class DeadLetterRoutes:
    """Handlers below `/api/v1/serverless/dead-letters`; without a live queue they answer 503 to valid requests."""

    def __init__(self, queue: Queue | None) -> None:
        self._queue = queue

    async def list(self, request: web.Request) -> web.Response:
        """The newest `limit` dead letters, the newest first; of one source, of one pool (`unknown`: of none)."""
        query = request.query
        source, pool = _source(query.get("source")), _pool(query.get("serverlessRequestID"))
        limit = parse_limit(query.get("limit"))
        letters = await self._letters().newest(limit, source=source, pool=pool)
        return data_response([summary_of(letter) for letter in letters])

    async def get(self, request: web.Request) -> web.Response:
        """One dead letter, with its payload and the bytes of the message that was given up."""
        sequence = _sequence(request)
        letters = self._letters()
        with _answered():
            letter = await letters.get(sequence)
        return data_response(view_of(letter, await letters.original(letter), letters.subjects))

    async def retry(self, request: web.Request) -> web.Response:
        """Queue its work again: 202 with the receipt, 200 when that was done before; the dead letter is then gone."""
        sequence = _sequence(request)
        with _answered():
            retried = await self._letters().retry(sequence)
        status = HTTPStatus.OK if retried.published.duplicate else HTTPStatus.ACCEPTED
        return data_response(receipt_of(retried, utc_now()), status)

    async def drop(self, request: web.Request) -> web.Response:
        """Delete it: 204."""
        sequence = _sequence(request)
        with _answered():
            await self._letters().drop(sequence)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    def _letters(self) -> DeadLetters:
        if self._queue is None or not self._queue.connected:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE, SERVICE_UNAVAILABLE, "the queue is not connected; try again later"
            )
        return DeadLetters(self._queue)


@contextmanager
def _answered() -> Iterator[None]:
    """Answer for what a dead letter's name or content brings about: 404 and 409."""
    try:
        yield
    except DeadLetterNotFoundError as error:
        raise ApiError(HTTPStatus.NOT_FOUND, DEAD_LETTER_NOT_FOUND, str(error)) from error
    except NotRetryableError as error:
        raise ApiError(HTTPStatus.CONFLICT, NOT_RETRYABLE, f"cannot be queued again: {error}") from error


def _sequence(request: web.Request) -> int:
    text = request.match_info["sequence"]
    if not _SEQUENCE.fullmatch(text):
        raise InvalidRequestError("sequence", f"{text!r} must be the number of a message in the stream")
    return int(text)


def _source(text: str | None) -> str:
    if text is not None and text not in SOURCES:
        raise InvalidRequestError("source", f"{text!r} must be one of {', '.join(SOURCES)}")
    return text or ""


def _pool(text: str | None) -> str:
    return "" if text is None else parse_pool(text)
