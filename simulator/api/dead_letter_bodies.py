"""What the routes of dead letters answer with: the types and how they are made of what the queue has. Pure."""

import base64
from datetime import datetime
from typing import Any, Final

import msgspec

from framework.contract import NO_JSON
from sidecar.messages import Time, UInt64
from sidecar.subjects import Subjects
from simulator.api.calls import Receipt
from simulator.dead_letter_rules import DeadLetter, NotRetryableError, Original, retried
from simulator.dead_letters import Retried


class DeadLetterSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A dead letter (contract 3.10) without its payload, under the `sequence` by which it is named.

    `source` and `serverlessRequestID` are those of its subject; the pool is `unknown` where it could not be read.
    """

    sequence: UInt64
    source: str
    serverless_request_id: str = msgspec.field(name="serverlessRequestID")
    failure_class: str
    error: str
    failed_at: Time
    original_subject: str
    invocation_id: str = msgspec.field(name="invocationID", default="")
    worker_name: str = ""
    worker_namespace: str = ""
    stream: str = ""
    consumer: str = ""
    stream_sequence: UInt64 = 0
    consumer_sequence: UInt64 = 0
    delivery_count: UInt64 = 0


class DeadLetterView(DeadLetterSummary, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A dead letter whole, and the message that was given up.

    `payload` is the dead letter's own copy of it. `originalBase64` has its bytes, the first of `originalSize` only when
    the others are lost. `retryable` says whether it can be queued again, `notRetryable` why not.
    """

    retryable: bool
    original_size: UInt64
    original_base64: str
    not_retryable: str = ""
    payload: msgspec.Raw = NO_JSON


class RetryReceipt(Receipt, frozen=True, kw_only=True, rename="camel"):
    """The invocation that a dead letter became; as for any async one, and the `deadLetter` that is gone."""

    dead_letter: UInt64


_FROM_SUBJECT: Final = ("sequence", "source", "serverless_request_id")
_FROM_MESSAGE: Final = tuple(name for name in DeadLetterSummary.__struct_fields__ if name not in _FROM_SUBJECT)


def summary_of(letter: DeadLetter) -> DeadLetterSummary:
    """How a dead letter is listed."""
    return DeadLetterSummary(**_fields(letter))


def view_of(letter: DeadLetter, original: Original, subjects: Subjects) -> DeadLetterView:
    """How a dead letter is shown by itself."""
    problem = ""
    try:
        retried(letter, original, subjects, letter.message.failed_at)
    except NotRetryableError as error:
        problem = str(error)
    return DeadLetterView(
        **_fields(letter),
        retryable=not problem,
        not_retryable=problem,
        payload=letter.message.payload,
        original_size=original.size,
        original_base64=base64.b64encode(original.data).decode(),
    )


def _fields(letter: DeadLetter) -> dict[str, Any]:
    return {
        "sequence": letter.sequence,
        "source": letter.source,
        "serverless_request_id": letter.pool,
        **{name: getattr(letter.message, name) for name in _FROM_MESSAGE},
    }


def receipt_of(done: Retried, accepted_at: datetime) -> RetryReceipt:
    """How a retry is answered."""
    return RetryReceipt(
        dead_letter=done.letter.sequence,
        invocation_id=done.invocation.invocation_id,
        serverless_request_id=done.invocation.serverless_request_id,
        mode=done.invocation.mode,
        subject=done.subject,
        result_subject=done.invocation.result_subject,
        metrics_subject=done.invocation.metrics_subject,
        stream=done.published.stream,
        sequence=done.published.sequence,
        duplicate=done.published.duplicate,
        accepted_at=accepted_at,
    )
