"""One dispatch from delivery to its end (contract 7.3): check, run once, publish, acknowledge."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

import msgspec
import structlog

from sidecar.backoff import jittered
from sidecar.config import Config
from sidecar.dead_letters import Origin, Recognised, dead_letter, decode_dispatch, recognise, rejected_result
from sidecar.events import Events
from sidecar.framework_client import FrameworkClient, FrameworkError, NeverSentError
from sidecar.framework_watch import FIRST_RETRY_S, LONGEST_RETRY_S, FrameworkWatch
from sidecar.messages import (
    FailureClass,
    InvocationResultMessage,
    MalformedMessageError,
    Source,
    WorkerDispatchMessage,
    WorkerMetricMessage,
    utc_now,
)
from sidecar.outcome import answered, ended_event, failed, framework_request, started_event
from sidecar.ports import DeliveryPort
from sidecar.publishing import Publisher
from sidecar.results import RecentResults, StoredResult
from sidecar.subjects import SubjectError, dispatch_token, normalise_request_id

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answered:
    """The invocation has its result; `event` is None when it had it before."""

    stored: StoredResult
    event: WorkerMetricMessage | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The message can never be handled."""

    known: Recognised
    failure_class: str
    error: str


class Invocations:
    """Runs dispatches against the framework, each invocation once, and publishes what came of it."""

    def __init__(
        self,
        config: Config,
        publisher: Publisher,
        events: Events,
        framework: FrameworkClient,
        watch: FrameworkWatch,
    ) -> None:
        self._config = config
        self._publisher = publisher
        self._events = events
        self._framework = framework
        self._watch = watch
        self._recent = RecentResults()
        self._running: dict[str, asyncio.Future[None]] = {}
        self.inflight = 0

    async def execute(self, delivery: DeliveryPort) -> Answered | Rejected:
        """Find or make the invocation's result; when it returns, the framework is free again."""
        try:
            dispatch = decode_dispatch(delivery.data)
        except MalformedMessageError as error:
            return Rejected(recognise(delivery.data), FailureClass.MALFORMED_MESSAGE, str(error))
        mismatch = identity_mismatch(dispatch, self._config)
        if mismatch:
            return Rejected(recognise(delivery.data), FailureClass.DISPATCH_ERROR, mismatch)
        invocation_id = dispatch.invocation_id
        while invocation_id in self._running:
            await asyncio.wait([self._running[invocation_id]])
        stored = self._recent.find(invocation_id)
        if stored is not None:
            log.info("redelivered, answered from memory", invocationID=invocation_id, attempt=delivery.attempt)
            return Answered(replied_to(stored, dispatch.reply_subject), None)
        if delivery.attempt > self._config.max_deliver:
            exhausted = f"delivered {delivery.attempt} times without a result"
            return Rejected(recognise(delivery.data), FailureClass.RETRY_EXHAUSTED, exhausted)
        return await self._run_once(dispatch)

    async def _run_once(self, dispatch: WorkerDispatchMessage) -> Answered:
        self._running[dispatch.invocation_id] = finished = asyncio.get_running_loop().create_future()
        try:
            result, stored = self._publisher.fitted(await self._run(dispatch))
            self._recent.add(stored)
            return Answered(stored, ended_event(result, self.inflight))
        finally:
            del self._running[dispatch.invocation_id]
            finished.set_result(None)

    async def _run(self, dispatch: WorkerDispatchMessage) -> InvocationResultMessage:
        self.inflight += 1
        self._watch.call_began()
        started_at = utc_now()
        self._events.publish(started_event(dispatch, self.inflight, started_at))
        try:
            # No cap of our own on top of it (S6).
            async with asyncio.timeout(max(dispatch.timeout_seconds, 0) or None):
                return await self._call(dispatch, started_at)
        except TimeoutError:
            error = f"no answer within {dispatch.timeout_seconds} s"
            return failed(dispatch, error, started_at, utc_now(), failure_class=FailureClass.FRAMEWORK_TIMEOUT)
        except FrameworkError as error:
            self._watch.doubt()
            return failed(dispatch, str(error), started_at, utc_now())
        finally:
            self._watch.call_ended()
            self.inflight -= 1

    async def _call(self, dispatch: WorkerDispatchMessage, started_at: datetime) -> InvocationResultMessage:
        """Post the invocation; while nobody listens, wait for the framework and try again."""
        body = msgspec.json.encode(framework_request(dispatch))
        waits = jittered(FIRST_RETRY_S, LONGEST_RETRY_S)
        while True:
            try:
                response = await self._framework.invoke(body, None)
            except NeverSentError:
                self._watch.unreachable()
                await asyncio.sleep(next(waits))
                await self._watch.wait_healthy()
            else:
                return answered(dispatch, response.status, response.body, started_at, utc_now())

    async def conclude(self, delivery: DeliveryPort, conclusion: Answered | Rejected) -> None:
        """Publish the result (or the dead letter), reply, report, and end the delivery."""
        if isinstance(conclusion, Rejected):
            await self._reject(delivery, conclusion)
            return
        await self._publisher.result(conclusion.stored)
        if conclusion.event is not None:
            self._events.publish(conclusion.event)
        await delivery.ack()

    async def give_up(self, delivery: DeliveryPort, error: str) -> None:
        """After an unexpected failure: try again later, or dead-letter it when that was tried often enough."""
        attempt = delivery.attempt
        if attempt >= self._config.max_deliver:
            await self._reject(delivery, Rejected(recognise(delivery.data), FailureClass.RETRY_EXHAUSTED, error))
            return
        delays = self._config.backoff_s
        await delivery.nak(delays[min(attempt, len(delays)) - 1])

    async def _reject(self, delivery: DeliveryPort, rejected: Rejected) -> None:
        config, now = self._config, utc_now()
        origin = Origin.of(delivery, source=Source.DISPATCH, stream=config.stream_name, consumer=config.consumer_name)
        known, failure_class, error = rejected.known, rejected.failure_class, rejected.error
        log.warning(
            "dispatch rejected",
            invocationID=known.invocation_id,
            sequence=delivery.sequence,
            failureClass=failure_class,
            error=error,
        )
        limit = self._publisher.max_message_bytes
        letter = dead_letter(origin, known, delivery.data, failure_class, error, now, limit)
        if not await self._publisher.dead_letter(letter):
            log.error("dead letter lost, the original stays in the stream", sequence=delivery.sequence)
        if known.answerable:
            result = rejected_result(known, failure_class, error, now, config.worker_name, config.worker_namespace)
            stored = self._publisher.prepared(result)
            self._recent.add(stored)
            await self._publisher.result(stored)
        await delivery.term(failure_class)


def replied_to(stored: StoredResult, reply_subject: str) -> StoredResult:
    """The remembered result, replied to whoever asks now."""
    return StoredResult(stored.invocation_id, stored.request_id, reply_subject, stored.data)


def identity_mismatch(dispatch: WorkerDispatchMessage, config: Config) -> str:
    """What in a dispatch names another worker than this one (S20); empty when it is ours."""
    try:
        request_id = normalise_request_id(dispatch.serverless_request_id)
    except SubjectError as error:
        return str(error)
    for what, found, ours in (
        ("serverlessRequestID", request_id, config.request_id),
        ("workerName", dispatch_token(dispatch.worker_name), dispatch_token(config.worker_name)),
        ("workerNamespace", dispatch.worker_namespace.strip(), config.worker_namespace),
    ):
        if found != ours:
            return f"dispatched to {what} {found!r}, this worker has {ours!r}"
    return ""
