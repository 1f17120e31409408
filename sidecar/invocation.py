"""One dispatch from delivery to its end (contract 7.3): check, run once, publish, acknowledge."""

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeAlias

import msgspec
import structlog

from sidecar.backoff import jittered
from sidecar.cancellation import CancelledCalls, MovedDispatches
from sidecar.conclusions import Answered, Conclusion, Dropped, Rejected, Unanswered
from sidecar.config import Config
from sidecar.dead_letters import Origin, dead_letter, decode_dispatch, recognise, rejected_result
from sidecar.deadline import budget, queue_wait_s
from sidecar.events import Events
from sidecar.framework_client import FrameworkClient, FrameworkError, FrameworkLostError, NeverSentError
from sidecar.framework_watch import FIRST_RETRY_S, LONGEST_RETRY_S, FrameworkWatch
from sidecar.identity import Identity
from sidecar.messages import (
    FailureClass,
    InvocationResultMessage,
    MalformedMessageError,
    Source,
    WorkerDispatchMessage,
    WorkerMetricMessage,
    utc_now,
)
from sidecar.metrics import Meters
from sidecar.outcome import (
    answered,
    cancelled,
    ended_event,
    failed,
    framework_request,
    started_event,
    timed_out,
    too_late,
    worker_lost,
)
from sidecar.ports import DeliveryPort
from sidecar.publishing import Publisher
from sidecar.results import RecentResults, StoredResult
from sidecar.stored import ONCE_HEADER, dispatch_number
from sidecar.tracing import trace_headers

End: TypeAlias = Callable[[WorkerDispatchMessage, datetime, datetime], InvocationResultMessage]
"""Makes the result of a call that was ended, of its dispatch, start and end."""

log = structlog.get_logger(__name__)


class _Call:
    """An invocation that runs, until it has its answer or something ends it.

    What `asyncio.timeout` does, for both: running out of time and being cancelled, at a third of the cost.
    """

    __slots__ = ("_task", "end", "finished", "timer")

    def __init__(self, left_s: float | None) -> None:
        self._task = asyncio.current_task()
        self.timer = None if left_s is None else asyncio.get_running_loop().call_later(left_s, self.stop, timed_out)
        self.end: End | None = None
        """What its result is, if it was ended before it had its answer."""
        self.finished: asyncio.Event | None = None
        """Set at its end, if a redelivery waits for that."""

    def stop(self, end: End) -> None:
        """End it, unless that has begun; the framework's request is closed, and so its handler cancelled."""
        if self.end is None and self._task is not None:
            self.end = end
            self._task.cancel()

    def was_stopped(self) -> bool:
        """Whether a cancellation that arrived is that of `stop`, and no other one came beside it."""
        return self.end is not None and self._task is not None and self._task.uncancel() == 0

    def finish(self) -> None:
        """Let go of the timer, and of who waits for the end."""
        if self.timer is not None:
            self.timer.cancel()
        if self.finished is not None:
            self.finished.set()


class Invocations:
    """Runs dispatches against the framework, each invocation once, and publishes what came of it."""

    def __init__(
        self,
        config: Config,
        publisher: Publisher,
        events: Events,
        framework: FrameworkClient,
        watch: FrameworkWatch,
        meters: Meters,
    ) -> None:
        self._config = config
        self._publisher = publisher
        self._events = events
        self._framework = framework
        self._watch = watch
        self._meters = meters
        self._identity = Identity(config)
        self._recent = RecentResults()
        self._cancelled = CancelledCalls()
        self._moved = MovedDispatches()
        self._calls: dict[str, _Call] = {}

    def cancel(self, invocation_id: str, if_not_started: bool = False, moved: int = 0) -> None:
        """Nobody wants this invocation any more: end its call, or do not start it (S8).

        With `if_not_started` a call that runs goes on; one that waits, or arrives later, still does not start. With
        `moved` only its dispatches up to that number are not started, without a word; one that runs goes on (S13).
        """
        call = self._calls.get(invocation_id)
        if moved:
            self._moved.add(invocation_id, moved)
        elif call is None:
            self._cancelled.add(invocation_id)
        elif not if_not_started:
            call.stop(cancelled)

    async def execute(self, delivery: DeliveryPort) -> Conclusion:
        """Find or make the invocation's result; when it returns, the framework is free again."""
        try:
            dispatch = decode_dispatch(delivery.data)
        except MalformedMessageError as error:
            return Rejected(recognise(delivery.data), FailureClass.MALFORMED_MESSAGE, str(error))
        mismatch = self._identity.mismatch(dispatch)
        if mismatch:
            return Rejected(recognise(delivery.data), FailureClass.DISPATCH_ERROR, mismatch)
        if dispatch.serverless_request_id != self._config.request_id:  # written otherwise; it becomes part of subjects
            dispatch = msgspec.structs.replace(dispatch, serverless_request_id=self._config.request_id)
        invocation_id, attempt = dispatch.invocation_id, delivery.attempt
        if attempt > 1:
            self._meters.redeliveries += 1
        while (call := self._calls.get(invocation_id)) is not None:
            call.finished = call.finished or asyncio.Event()
            await call.finished.wait()
        trace = trace_headers(dispatch.headers, delivery.extra_headers)
        stored = self._recent.find(invocation_id)
        if stored is not None:
            log.info("redelivered, answered from memory", invocationID=invocation_id, attempt=attempt)
            self._meters.answered_from_memory += 1
            return Answered(replied_to(stored, dispatch.reply_subject), None, trace)
        if self._moved.includes(invocation_id, dispatch_number(delivery.extra_headers)):
            log.info("dispatch was moved, not run here", invocationID=invocation_id, attempt=attempt)
            return Dropped()
        if attempt > 1 and ONCE_HEADER in delivery.extra_headers:
            result, stored = self._publisher.fitted(worker_lost(dispatch, utc_now()))
            self._recent.add(stored)
            return Answered(stored, ended_event(result, self._meters.inflight), trace)
        if attempt > self._config.max_deliver:
            exhausted = f"delivered {attempt} times without a result"
            return Rejected(recognise(delivery.data), FailureClass.RETRY_EXHAUSTED, exhausted)
        return await self._run_once(dispatch, delivery, trace)

    async def _run_once(
        self, dispatch: WorkerDispatchMessage, delivery: DeliveryPort, trace: Mapping[str, str]
    ) -> Answered | Unanswered:
        now = utc_now()
        waited_s = queue_wait_s(dispatch, now)
        if waited_s is not None:
            self._meters.queue_wait.observe(waited_s)
        left_s = budget(dispatch, now)
        if left_s is not None and left_s <= 0:
            result = too_late(dispatch, now)
        elif self._cancelled.take(dispatch.invocation_id):
            result = cancelled(dispatch, now, now)
        else:
            try:
                result = await self._run(dispatch, delivery, trace, now, left_s)
            except FrameworkLostError as error:
                return Unanswered(dispatch, str(error), now, utc_now(), trace)
            self._meters.handler.observe((result.completed_at - now).total_seconds())
        return self._answered(result, trace)

    def _answered(self, result: InvocationResultMessage, trace: Mapping[str, str]) -> Answered:
        result, stored = self._publisher.fitted(result)
        self._recent.add(stored)
        self._meters.ended(result.state, result.failure_class)
        return Answered(stored, ended_event(result, self._meters.inflight), trace)

    async def _run(
        self,
        dispatch: WorkerDispatchMessage,
        delivery: DeliveryPort,
        trace: Mapping[str, str],
        started_at: datetime,
        left_s: float | None,
    ) -> InvocationResultMessage:
        """Call the framework within what is left of the budget; there is no cap of our own on top of it (S6, S7)."""
        invocation_id = dispatch.invocation_id
        self._calls[invocation_id] = call = _Call(left_s)
        self._meters.inflight += 1
        self._watch.call_began()
        started = started_event(dispatch, self._meters.inflight, started_at)
        self._report(started, delivery, trace)
        try:
            return await self._call(dispatch, trace, started_at)
        except asyncio.CancelledError:
            if call.end is None or not call.was_stopped():
                raise
            return call.end(dispatch, started_at, utc_now())
        except FrameworkError as error:
            self._watch.doubt()
            if isinstance(error, FrameworkLostError):
                raise
            return failed(dispatch, str(error), started_at, utc_now(), failure_class=error.failure_class)
        finally:
            self._watch.call_ended()
            self._meters.inflight -= 1
            del self._calls[invocation_id]
            call.finish()

    async def _call(
        self, dispatch: WorkerDispatchMessage, trace: Mapping[str, str], started_at: datetime
    ) -> InvocationResultMessage:
        """Post the invocation; while nobody listens, wait for the framework and try again."""
        body = msgspec.json.encode(framework_request(dispatch))
        waits = jittered(FIRST_RETRY_S, LONGEST_RETRY_S)
        while True:
            try:
                response = await self._framework.invoke(body, None, trace)
            except NeverSentError:
                self._watch.unreachable()
                await asyncio.sleep(next(waits))
                await self._watch.wait_healthy()
            else:
                return answered(dispatch, response.status, response.body, started_at, utc_now())

    async def conclude(self, delivery: DeliveryPort, conclusion: Conclusion) -> None:
        """Publish the result (or the dead letter), reply, report, and end the delivery."""
        if isinstance(conclusion, Unanswered):
            lost = conclusion
            self._meters.handler.observe((lost.ended_at - lost.started_at).total_seconds())
            conclusion = self._answered(failed(lost.dispatch, lost.error, lost.started_at, lost.ended_at), lost.trace)
        if isinstance(conclusion, Dropped):
            await delivery.ack()
            return
        if isinstance(conclusion, Rejected):
            await self._reject(delivery, conclusion)
            return
        began_at = time.monotonic()
        await self._publisher.result(conclusion.stored, conclusion.trace)
        self._meters.publish.observe(time.monotonic() - began_at)
        if conclusion.event is not None:
            self._report(conclusion.event, delivery, conclusion.trace)
        await delivery.ack()

    def _report(self, event: WorkerMetricMessage, delivery: DeliveryPort, trace: Mapping[str, str]) -> None:
        """Publish an event of this very run: its id differs from those of the invocation's other runs (S12)."""
        dispatch = dispatch_number(delivery.extra_headers)
        self._events.publish(event, attempt=delivery.attempt, dispatch=dispatch, headers=trace)

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
        failure_class, error = rejected.failure_class, rejected.error
        # Whatever pool it names: it came to this one's worker, who may publish for no other (S23).
        known = dataclasses.replace(rejected.known, request_id=config.request_id)
        log.warning(
            "dispatch rejected",
            invocationID=known.invocation_id,
            sequence=delivery.sequence,
            failureClass=failure_class,
            error=error,
        )
        self._meters.dead_lettered(failure_class)
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
