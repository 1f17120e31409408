"""The commands `unitsim activator` and `unitsim api`: one part of a running platform, as a process of its own."""

import contextlib
import logging
import math
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from sidecar.concurrency import MAX_CONCURRENCY
from sidecar.subjects import (
    DEFAULT_PREFIX,
    DEFAULT_STREAM,
    SubjectError,
    Subjects,
    normalise_name,
    normalise_prefix,
)
from simulator.cli.execution import run_async
from simulator.cli.flags import Json, Verbose
from simulator.cli.output import Output, configure_logs
from simulator.errors import UsageError
from simulator.ports import ensure_free

if TYPE_CHECKING:
    from simulator.parts import Surroundings

MIN_ACK_WAIT_S = 1.0
MAX_PORT = 65535


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Place:
    """The platform that the part belongs to."""

    kubeconfig: Annotated[Path, Parameter(env_var="KUBECONFIG", help="The cluster: its current context.")]
    nats_url: Annotated[str, Parameter(env_var="UNITSIM_NATS_URL", help="The queue, such as nats://127.0.0.1:4222.")]
    credentials: Annotated[Path | None, Parameter(help="NATS .creds file that only its owner may read.")] = None
    stream_name: Annotated[str, Parameter(help="The platform's stream.")] = DEFAULT_STREAM
    subject_prefix: Annotated[str, Parameter(help="What all its subjects begin with.")] = DEFAULT_PREFIX


def activator(
    *,
    place: Place,
    concurrency: Annotated[int, Parameter(help="Calls that each worker runs at once.")] = 1,
    worker_ready_wait: Annotated[float, Parameter(help="Seconds that a worker may take to become Ready.")] = 120,
    heartbeat_interval: Annotated[float, Parameter(help="Seconds between the workers' signs of life.")] = 15,
    gpu_budget: Annotated[int | None, Parameter(help="GPUs that all workers may use together.")] = None,
    lease: Annotated[float, Parameter(help="Seconds after which another leads when the leader is silent.")] = 5,
    ack_wait: Annotated[float, Parameter(help="Seconds after which others get what a dead activator held.")] = 15,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Run one more activator beside those of a running platform, until Ctrl-C or SIGTERM.

    All activators of a platform must have the same settings. It waits for queue and cluster when they are away.
    """
    from simulator.activator.settings import ActivatorSettings
    from simulator.parts import run_activator

    configure_logs(logging.INFO if verbose else logging.WARNING)
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise UsageError(f"--concurrency {concurrency} must be between 1 and {MAX_CONCURRENCY}")
    if gpu_budget is not None and gpu_budget < 0:
        raise UsageError(f"--gpu-budget {gpu_budget} must not be negative")
    settings = ActivatorSettings(
        capacity=concurrency,
        worker_ready_wait_s=_seconds(worker_ready_wait, "--worker-ready-wait"),
        heartbeat_interval_s=_seconds(heartbeat_interval, "--heartbeat-interval"),
        gpu_budget=gpu_budget,
        lease_s=_seconds(lease, "--lease"),
        ack_wait_s=_seconds(ack_wait, "--ack-wait", MIN_ACK_WAIT_S),
    )
    where, output = _surroundings(place), Output(json)

    def started(name: str) -> None:
        output.say(f"{name} runs. Ctrl-C stops it.")
        output.result({"activator": name})

    return _until_stopped(run_activator(where, settings, started))


def api(
    *,
    place: Place,
    port: Annotated[int, Parameter(help="Port on 127.0.0.1; 0 is any free one.")] = 8080,
    backlog_limit: Annotated[int, Parameter(help="Invocations that may wait in a pool.")] = 2000,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Run one more API server beside those of a running platform, until Ctrl-C or SIGTERM.

    Its URL is printed once it serves. It waits for the queue when that is away.
    """
    from simulator.api.settings import ApiSettings
    from simulator.parts import run_api

    configure_logs(logging.INFO if verbose else logging.WARNING)
    if not 0 <= port <= MAX_PORT:
        raise UsageError(f"--port {port} must be between 0 and {MAX_PORT}")
    if backlog_limit < 1:
        raise UsageError(f"--backlog-limit {backlog_limit} must be at least 1")
    ensure_free(port, "choose another with --port (0: any free one)")
    where, output = _surroundings(place), Output(json)

    def started(url: str) -> None:
        output.say(f"runtime API  {url}")
        output.say("Ctrl-C stops it.")
        output.result({"api": url})

    return _until_stopped(run_api(where, port, ApiSettings(backlog_limit=backlog_limit), started))


def _until_stopped(part: Coroutine[Any, Any, None]) -> int:
    with contextlib.suppress(KeyboardInterrupt):  # the way in which a part is meant to end
        run_async(part)
    return 0


def _surroundings(place: Place) -> "Surroundings":
    from sidecar.stream import StreamSettings
    from simulator.parts import Surroundings, checked_nats_url, read_credentials

    try:
        subjects = Subjects(normalise_prefix(place.subject_prefix))
        name = normalise_name(place.stream_name, DEFAULT_STREAM, "stream name")
    except SubjectError as error:
        raise UsageError(str(error)) from error
    url = checked_nats_url(place.nats_url)
    credentials = read_credentials(place.credentials) if place.credentials else None
    return Surroundings(place.kubeconfig, url, credentials, StreamSettings(name, subjects))


def _seconds(value: float, flag: str, least: float = 0.0) -> float:
    if not (math.isfinite(value) and value >= least and value > 0):
        raise UsageError(f"{flag} {value:g} must be {f'at least {least:g}' if least else 'more than 0'} seconds")
    return value
