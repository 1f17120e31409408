"""The activator's shell: fetches invocations, asks `decisions`, publishes dispatches and failed results (contract 9.2).

Every invocation is handled in a task of its own, so a pool that starts from cold keeps nobody else waiting (A2).
While it waits its message is kept in progress (A3); units come from a watch, never from a list or a poll (A4).
"""

import asyncio
import contextlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from sidecar.dead_letters import Origin, dead_letter, is_usable_id, recognise, rejected_result, require_short
from sidecar.deliveries import ConsumerSettings, Delivery, kept_in_progress
from sidecar.messages import (
    FailureClass,
    InvocationMessage,
    InvocationResultMessage,
    MalformedMessageError,
    Source,
    State,
    WorkerDispatchMessage,
    decode,
    encode,
    utc_now,
)
from sidecar.publishing import Publisher
from sidecar.queue import Queue, QueueError
from sidecar.subjects import (
    ACTIVATOR_CONSUMER,
    SubjectError,
    Subjects,
    dispatch_message_id,
    normalise_request_id,
)
from sidecar.tracing import trace_headers
from simulator.activator.decisions import (
    CreateWorker,
    Decision,
    Dispatch,
    Fail,
    WaitFor,
    decide,
    expired,
    worker_from,
)
from simulator.errors import AlreadyExistsError, KubeError
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT, Object

MAX_ATTEMPTS: Final = 5
"""Deliveries of one invocation after which a passing fault becomes a failed result (contract 2.5, A9)."""

RETRY_DELAYS_S: Final = (2.0, 10.0, 30.0)
"""Delay before each further attempt; the last one repeats (contract 2.5)."""

FETCH_BATCH: Final = 64

RECOVERY_S: Final = 0.5
"""Pause after the queue refused a fetch, before the consumer is bound again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ActivatorSettings:
    """Contract 9.1; times are seconds. `max_concurrent` bounds the invocations in hand."""

    consumer_name: str = ACTIVATOR_CONSUMER
    worker_ready_wait_s: float = 120.0
    max_concurrent: int = 256

    @property
    def ack_wait_s(self) -> float:
        """Silence after which the server gives an invocation to another activator (contract 2.5)."""
        return self.worker_ready_wait_s + 15.0

    def consumer(self, subjects: Subjects) -> ConsumerSettings:
        """The ingress consumer: all pools' invocations (contract 2.5)."""
        return ConsumerSettings(
            durable=self.consumer_name,
            filter_subject=subjects.invoke("*"),
            ack_wait_s=self.ack_wait_s,
            max_ack_pending=self.max_concurrent,
        )


class Activator:
    """Owns the ingress consumer. `units` must be a running informer of GPUUnits."""

    def __init__(
        self, cluster: Cluster, units: Informer, queue: Queue, settings: ActivatorSettings | None = None
    ) -> None:
        self._cluster = cluster
        self._units = units
        self._queue = queue
        self._settings = settings or ActivatorSettings()
        self._publisher = Publisher(queue)

    async def run(self) -> None:
        """Handle invocations until cancelled; what is in hand then is given back to the queue by its ack wait."""
        await self._units.synced()
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    await self._consume(tasks)
                except QueueError as error:
                    log.warning("cannot fetch invocations, trying again", error=str(error))
                    await asyncio.sleep(RECOVERY_S)

    async def _consume(self, tasks: asyncio.TaskGroup) -> None:
        consumer = await self._queue.consumer(self._settings.consumer(self._queue.subjects))
        try:
            while True:
                # The server stops delivering at `max_ack_pending`, which bounds the tasks.
                for delivery in await consumer.fetch(batch=FETCH_BATCH):
                    tasks.create_task(self._hold(delivery))
        finally:
            await consumer.close()

    async def _hold(self, delivery: Delivery) -> None:
        try:
            async with kept_in_progress(delivery, self._settings.ack_wait_s):
                await self._handle(delivery)
        except QueueError as error:
            # Not acknowledged, so it comes again; the message ids keep a second publish harmless.
            log.warning("invocation not settled, it will be delivered again", error=str(error))

    async def _handle(self, delivery: Delivery) -> None:
        try:
            invocation = _checked(delivery)
        except MalformedMessageError as error:
            await self._bury(delivery, str(error))
            return
        with structlog.contextvars.bound_contextvars(
            invocationID=invocation.invocation_id, pool=invocation.serverless_request_id
        ):
            try:
                await self._activate(invocation, trace_headers(invocation.headers, delivery.extra_headers))
            except (KubeError, QueueError) as error:
                if delivery.attempt < MAX_ATTEMPTS:
                    delay_s = RETRY_DELAYS_S[min(delivery.attempt, len(RETRY_DELAYS_S)) - 1]
                    log.warning("activation failed, trying again", error=str(error), delay_s=delay_s)
                    await delivery.nak(delay_s)
                    return
                await self._fail(invocation, Fail(502, FailureClass.DISPATCH_ERROR, str(error)))
            await delivery.ack()

    async def _activate(self, invocation: InvocationMessage, trace: Mapping[str, str]) -> None:
        if expired(invocation, utc_now()):
            reason = f"waited in the queue for longer than its {invocation.timeout_seconds} s"
            await self._fail(invocation, Fail(504, FailureClass.ACTIVATION_TIMEOUT, reason))
            return
        given_up: set[str] = set()
        while True:
            decision = self._decide(invocation, given_up)
            match decision:
                case Dispatch():
                    await self._dispatch(invocation, decision, trace)
                    return
                case Fail():
                    await self._fail(invocation, decision)
                    return
                case WaitFor():
                    if not await self._settled(invocation, decision, given_up):
                        given_up.add(decision.unit_name)
                case CreateWorker(template):
                    await self._create_worker(template, invocation)

    def _decide(self, invocation: InvocationMessage, given_up: Set[str]) -> Decision:
        return decide(invocation.serverless_request_id, self._units.objects(), given_up)

    async def _settled(self, invocation: InvocationMessage, waiting: WaitFor, given_up: Set[str]) -> bool:
        """Wait until there is something else to do than to wait for this unit; False when the wait ran out."""

        def changed(_: Informer) -> Decision | None:
            decision = self._decide(invocation, given_up)
            return None if decision == waiting else decision

        try:
            await self._units.wait_for(changed, self._settings.worker_ready_wait_s)
        except TimeoutError:
            return False
        return True

    async def _create_worker(self, template: Object, invocation: InvocationMessage) -> None:
        worker = worker_from(template, invocation.invocation_id)
        name, namespace = worker["metadata"]["name"], worker["metadata"]["namespace"]
        log.info("creating a worker", worker=name, template=template["metadata"]["name"])
        with contextlib.suppress(AlreadyExistsError):
            await self._cluster.create(GPUUNIT, worker)
        try:
            await self._units.wait_for(lambda units: units.get(namespace, name), self._settings.worker_ready_wait_s)
        except TimeoutError as error:
            raise KubeError(f"the new worker {name} did not appear in the watch of GPUUnits") from error

    async def _dispatch(self, invocation: InvocationMessage, to: Dispatch, trace: Mapping[str, str]) -> None:
        subjects, pool = self._queue.subjects, invocation.serverless_request_id
        message = WorkerDispatchMessage(
            invocation_id=invocation.invocation_id,
            serverless_request_id=pool,
            worker_name=to.worker_name,
            worker_namespace=to.worker_namespace,
            mode=invocation.mode,
            state=State.DISPATCHING,
            content_type=invocation.content_type,
            headers=invocation.headers,
            attributes=invocation.attributes,
            payload=invocation.payload,
            timeout_seconds=invocation.timeout_seconds,
            result_subject=invocation.result_subject or subjects.result(pool),
            metrics_subject=invocation.metrics_subject or subjects.metrics(pool),
            reply_subject=invocation.reply_subject,
            enqueued_at=invocation.enqueued_at,
            dispatched_at=utc_now(),
        )
        await self._queue.publish(
            subjects.dispatch(pool, to.worker_name),
            encode(message),
            message_id=dispatch_message_id(invocation.invocation_id, to.worker_name),
            headers=trace,
        )
        log.info("dispatched", worker=to.worker_name)

    async def _fail(self, invocation: InvocationMessage, failure: Fail) -> None:
        """Publish a failed result: durable first, then to the caller who waits (contract 3.8, A17)."""
        log.warning("invocation failed", failureClass=failure.failure_class, reason=failure.reason)
        result = InvocationResultMessage(
            invocation_id=invocation.invocation_id,
            serverless_request_id=invocation.serverless_request_id,
            mode=invocation.mode,
            state=State.EXPIRED if failure.status_code == 504 else State.FAILED,
            failure_class=failure.failure_class,
            reply_subject=invocation.reply_subject,
            status_code=failure.status_code,
            error=failure.reason,
            started_at=invocation.enqueued_at,
            completed_at=utc_now(),
        )
        await self._publisher.result(self._publisher.prepared(result))

    async def _bury(self, delivery: Delivery, error: str) -> None:
        """Dead-letter what is no invocation; where a caller can be recognised, it gets a failed result (Q3)."""
        log.warning("malformed invocation, dead-lettered", sequence=delivery.sequence, error=error)
        known, now, failure_class = recognise(delivery.data), utc_now(), FailureClass.MALFORMED_MESSAGE
        origin = Origin.of(
            delivery,
            source=Source.INVOCATION,
            stream=self._queue.stream.name,
            consumer=self._settings.consumer_name,
        )
        limit = self._publisher.max_message_bytes
        await self._publisher.dead_letter(dead_letter(origin, known, delivery.data, failure_class, error, now, limit))
        if known.answerable:
            await self._publisher.result(self._publisher.prepared(rejected_result(known, failure_class, error, now)))
        await delivery.term(failure_class)


def _checked(delivery: Delivery) -> InvocationMessage:
    """Decode an invocation, its request ID checked: it becomes part of subjects."""
    invocation = decode(delivery.data, InvocationMessage)
    try:
        pool = normalise_request_id(invocation.serverless_request_id)
    except SubjectError as error:
        raise MalformedMessageError(str(error)) from error
    require_short(mode=invocation.mode, replySubject=invocation.reply_subject)
    if not is_usable_id(invocation.invocation_id):
        raise MalformedMessageError("invocationID must be printable, without spaces, and not too long")
    return msgspec.structs.replace(invocation, serverless_request_id=pool)
