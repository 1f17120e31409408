"""What a single invocation waits for in two bad moments: nobody is there to run it, or who runs it is killed."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecar.messages import Event, InvocationResultMessage, State, WorkerMetricMessage
from simulator.api_client import ApiClient, Json
from simulator.errors import PlatformError
from simulator.gpuunit import ACTIVE_NAMESPACE, serverless_of
from simulator.journal import Journal, journal_of
from simulator.kube.informer import Informer
from simulator.platform import Platform
from simulator.units import echo_unit
from simulator.waiting import wait_until_ready

TIMEOUT_S: Final = 60.0
HANDLER_S: Final = 0.5
"""How long the handler works, so that its worker can be killed meanwhile."""
SCRIPTED: Final = (sys.executable, "-m", "framework.misbehave")
"""A framework that takes as long as an invocation's attributes say."""


class ProbeFailedError(PlatformError):
    """An invocation did not succeed, so that there is no figure."""


def unit(name: str, pool: str, **serverless: Any) -> Json:
    """Body of a create request for one of several units of a pool."""
    body = echo_unit(pool)
    return body | {"operationID": f"create-{name}", "name": name, "serverless": body["serverless"] | serverless}


@dataclass(frozen=True, slots=True)
class Loss:
    """From a worker's SIGKILL to the result of what it was running, less the handler's own time.

    `by_another` tells whether another worker did it, or the same one that was started again.
    """

    seconds: float
    by_another: bool


async def cold_starts(platform: Platform, api: ApiClient, count: int) -> list[float]:
    """How many seconds callers of pools without any worker waited for their results.

    Raises:
        ProbeFailedError: an invocation did not succeed.
    """
    seconds = []
    for number in range(count):
        pool = f"cold-{number}"
        template = unit(f"{pool}-template", pool, templateOnly=True)
        await api.create_unit(template)
        await platform.units.wait_for(_is_empty(template["name"]), TIMEOUT_S)
        began = time.perf_counter()
        result = await api.invoke(_call(pool, "sync"), TIMEOUT_S)
        seconds.append(time.perf_counter() - began)
        if result.get("state") != State.SUCCEEDED:
            raise ProbeFailedError(f"the first call of pool {pool}, which has no worker, failed: {result.get('error')}")
        await _delete_pool(platform, api, pool)
    return seconds


async def losses(platform: Platform, api: ApiClient, count: int) -> list[Loss]:
    """Kill the worker of an invocation that runs, each time in a new pool of two.

    Raises:
        ProbeFailedError: an invocation did not succeed.
    """
    async with journal_of(platform.queue) as journal:
        return [await _loss(platform, api, journal, f"loss-{number}") for number in range(count)]


def loss_figures(losses: Sequence[Loss]) -> tuple[list[float], int]:
    """The seconds of each loss, and how many were done by another worker."""
    return [loss.seconds for loss in losses], sum(loss.by_another for loss in losses)


async def _loss(platform: Platform, api: ApiClient, journal: Journal, pool: str) -> Loss:
    for name in (f"{pool}-a", f"{pool}-b"):
        await api.create_unit(unit(name, pool) | {"template": {"command": list(SCRIPTED)}, "access": {}})
    for name in (f"{pool}-a", f"{pool}-b"):
        await wait_until_ready(platform.units, name)
    call = _call(pool, "async") | {"attributes": {"delay": f"{HANDLER_S}s"}}
    invocation: str = (await api.invoke(call))["invocationID"]
    started = await journal.wait_for(lambda seen: _started(seen, invocation), TIMEOUT_S, f"the start of {invocation}")
    killed = time.perf_counter()
    kill_worker(platform, started.worker_name)
    result = await journal.wait_for(lambda seen: _result(seen, invocation), TIMEOUT_S, f"the result of {invocation}")
    seconds = time.perf_counter() - killed - HANDLER_S
    if result.state != State.SUCCEEDED:
        raise ProbeFailedError(f"{invocation}, whose worker was killed, failed: {result.failure_class} {result.error}")
    await _delete_pool(platform, api, pool)
    return Loss(seconds, by_another=result.worker_name != started.worker_name)


def kill_worker(platform: Platform, name: str) -> None:
    """SIGKILL to all processes of a unit's pods."""
    for container in platform.kubelet.containers():
        if container.pod.startswith(f"{name}-") and container.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(container.pid, signal.SIGKILL)


def _call(pool: str, mode: str) -> Json:
    return {"serverlessRequestID": pool, "mode": mode, "payload": {"prompt": "draw a robot"}, "timeoutSeconds": 60}


def _is_empty(name: str) -> Callable[[Informer], bool | None]:
    """Whether the unit's status says that it is only a template."""

    def empty(units: Informer) -> bool | None:
        found = units.get(ACTIVE_NAMESPACE, name) or {}
        return (found.get("status") or {}).get("phase") == "Empty" or None

    return empty


def _started(journal: Journal, invocation_id: str) -> WorkerMetricMessage | None:
    return next((event for event in journal.events(invocation_id) if event.event_type == Event.STARTED), None)


def _result(journal: Journal, invocation_id: str) -> InvocationResultMessage | None:
    return next(iter(journal.results(invocation_id)), None)


async def _delete_pool(platform: Platform, api: ApiClient, pool: str) -> None:
    """Delete a pool's units and wait until they are gone."""

    def units_of_pool(units: Informer) -> list[str]:
        found = ((each["metadata"]["name"], serverless_of(each)) for each in units.objects())
        return [name for name, spec in found if spec and spec.request_id == pool]

    for name in units_of_pool(platform.units):
        await api.delete_unit(name)
    await platform.units.wait_for(lambda units: None if units_of_pool(units) else True, TIMEOUT_S)
