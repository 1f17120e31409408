"""`unitsim demo`: the whole path once, narrated, with the figures that a reader may want to compare."""

import json
import os
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

from sidecar.messages import Event, WorkerMetricMessage
from simulator.api_client import ApiClient, Json
from simulator.cli.output import Output
from simulator.errors import PlatformError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.journal import Journal, journal_of
from simulator.platform import Platform, run_platform
from simulator.units import echo_unit
from simulator.waiting import wait_until_ready

POOL: Final = "sd-webui"
ROBOT: Final = {"prompt": "draw a robot"}
TIMEOUT_S: Final = 30.0
MIB: Final = 1024 * 1024


async def run_demo(calls: int, output: Output) -> int:
    """Start everything, make one sync and one async call and `calls` more for the figures, stop, and look around."""
    async with (
        run_platform() as platform,
        ApiClient(platform.api_url) as api,
        journal_of(platform.queue) as journal,
    ):
        output.say("1. A GPUUnit is created and becomes Ready", style="bold")
        await _show_unit(platform, api, output)

        output.say("\n2. A sync call is answered by a worker process over a unix socket", style="bold")
        answer = await api.invoke(_call("sync"))
        first_result_s = _process_age_s()
        output.say(f"   {answer['statusCode']} {answer['state']} from {answer['workerName']}, {answer['invocationID']}")
        output.say(f"   the handler saw: {json.dumps(answer['body']['payload'])}")

        output.say("\n3. An async call is accepted; its result arrives on its subject", style="bold")
        await _show_async_call(journal, api, output)

        figures: Json = {"firstSyncResultSeconds": round(first_result_s, 2)}
        figures |= await _latency(api, calls) | _memory(platform)
        processes = [container.pid for container in platform.kubelet.containers() if container.pid]
        addresses = (platform.nats_url, platform.kube_url, platform.api_url)
    _check_gone(platform.directory, processes, addresses)
    output.say("\n5. Stopped: no process, port or file of it is left", style="bold")
    output.say("\nFigures of this run", style="bold")
    for name, value in figures.items():
        output.say(f"   {name:<34} {value}")
    output.result(figures)
    return 0


def _call(mode: str) -> Json:
    attributes = {"path": "/generate", "method": "POST"}
    return {"serverlessRequestID": POOL, "mode": mode, "attributes": attributes, "payload": ROBOT}


async def _show_unit(platform: Platform, api: ApiClient, output: Output) -> None:
    request = echo_unit(POOL)
    await api.create_unit(request)
    unit = await wait_until_ready(platform.units, request["name"])
    status: dict[str, Any] = unit["status"]
    output.say(
        f"   {ACTIVE_NAMESPACE}/{request['name']}: {status['phase']}, serverless {status['serverless']['phase']}"
    )
    output.say(f"   dispatch subject {status['serverless']['dispatchSubject']}")
    for condition in status["conditions"]:
        output.say(f"   {condition['type']}={condition['status']} ({condition['reason']})")
    for container in platform.kubelet.containers():
        output.say(f"   process {container.pid}: {container.container}")


async def _show_async_call(journal: Journal, api: ApiClient, output: Output) -> None:
    receipt = await api.invoke(_call("async"))
    invocation_id: str = receipt["invocationID"]
    output.say(f"   {invocation_id} is message {receipt['sequence']} of {receipt['stream']}")

    def finished(_: Journal) -> list[WorkerMetricMessage] | None:
        events = journal.events(invocation_id)
        complete = journal.results(invocation_id) and events and events[-1].event_type == Event.FINISHED
        return events if complete else None

    events = await journal.wait_for(finished, TIMEOUT_S, f"the result of {invocation_id}")
    result = journal.results(invocation_id)[0]
    output.say(f"   {receipt['resultSubject']}: {result.status_code} {result.state}")
    output.say("\n4. The metric events", style="bold")
    registered = [each for each in journal.of_type(WorkerMetricMessage) if each.event_type == Event.REGISTERED]
    for event in (*registered, *events):
        output.say(f"   {receipt['metricsSubject']}: {event.event_type}, in flight {event.inflight}")


def _process_age_s() -> float:
    """Seconds since this process started, its interpreter's own start included."""
    if sys.platform != "linux":
        return time.time() - psutil.Process().create_time()
    # psutil counts from a boot time in whole seconds; the kernel knows better.
    start_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")


async def _latency(api: ApiClient, calls: int) -> Json:
    milliseconds = []
    for _ in range(calls):
        started = time.perf_counter()
        await api.invoke(_call("sync"))
        milliseconds.append((time.perf_counter() - started) * 1000)
    milliseconds.sort()
    return {
        "syncCalls": calls,
        "syncP50Milliseconds": round(statistics.median(milliseconds), 1),
        "syncP99Milliseconds": round(milliseconds[min(int(calls * 0.99), calls - 1)], 1),
    }


def _memory(platform: Platform) -> Json:
    """Resident memory of the worker's processes, each with its children, in MiB."""
    figures: Json = {}
    for container in platform.kubelet.containers():
        if container.pid is None:
            continue
        process = psutil.Process(container.pid)
        resident = sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
        figures[f"residentMiB {container.container}"] = round(resident / MIB, 1)
    return figures


def _check_gone(directory: Path, pids: Sequence[int], urls: Sequence[str]) -> None:
    left = [f"process {pid}" for pid in pids if psutil.pid_exists(pid)]
    left += [f"file {directory}"] if directory.exists() else []
    for url in urls:
        parts = urlsplit(url)
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((parts.hostname or "", parts.port or 0)) == 0:
                left.append(f"port {parts.port}")
    if left:
        raise PlatformError(f"left behind after the end: {', '.join(left)}")
