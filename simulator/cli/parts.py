"""The commands `unitsim activator` and `unitsim api`: one part of a running platform, as a process of its own."""

import contextlib
import ipaddress
import logging
import math
from collections.abc import Callable, Coroutine
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
from simulator.ports import LOOPBACK, ensure_free

if TYPE_CHECKING:
    from simulator.parts import QueueAddress, Surroundings

MIN_ACK_WAIT_S = 1.0
MAX_PORT = 65535


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class QueuePlace:
    """The queue of the platform that the part belongs to."""

    nats_url: Annotated[str, Parameter(env_var="UNITSIM_NATS_URL", help="The queue, such as nats://127.0.0.1:4222.")]
    credentials: Annotated[Path | None, Parameter(help="NATS .creds file that only its owner may read.")] = None
    stream_name: Annotated[str, Parameter(help="The platform's stream.")] = DEFAULT_STREAM
    subject_prefix: Annotated[str, Parameter(help="What all its subjects begin with.")] = DEFAULT_PREFIX


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Place(QueuePlace):
    """The platform that the part belongs to."""

    kubeconfig: Annotated[Path, Parameter(env_var="KUBECONFIG", help="The cluster: its current context.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class HealthPlace:
    """Where a cluster's kubelet asks how the part is."""

    health_port: Annotated[int | None, Parameter(help="Serve /healthz and /readyz there; 0 is any free port.")] = None
    health_host: Annotated[str, Parameter(help="Address for that.")] = LOOPBACK


NOWHERE = HealthPlace()


def activator(
    *,
    place: Place,
    health: HealthPlace = NOWHERE,
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
        worker_ready_wait_s=seconds(worker_ready_wait, "--worker-ready-wait"),
        heartbeat_interval_s=seconds(heartbeat_interval, "--heartbeat-interval"),
        gpu_budget=gpu_budget,
        lease_s=seconds(lease, "--lease"),
        ack_wait_s=seconds(ack_wait, "--ack-wait", MIN_ACK_WAIT_S),
    )
    where, output = surroundings(place), Output(json)

    def started(name: str) -> None:
        output.say(f"{name} runs. Ctrl-C stops it.")
        output.result({"activator": name})

    return run_part(health, lambda ready: run_activator(where, settings, both(started, ready)))


def api(
    *,
    place: Place,
    host: Annotated[str, Parameter(help="Address to listen on; another than this lets other machines in.")] = LOOPBACK,
    port: Annotated[int, Parameter(help="Port; 0 is any free one.")] = 8080,
    backlog_limit: Annotated[int, Parameter(help="Invocations that may wait in a pool.")] = 2000,
    health: HealthPlace = NOWHERE,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Run one more API server beside those of a running platform, until Ctrl-C or SIGTERM.

    Its URL is printed once it serves. It waits for the queue when that is away.
    """
    from simulator.api.settings import ApiSettings
    from simulator.parts import run_api

    configure_logs(logging.INFO if verbose else logging.WARNING)
    check_port(port, "--port")
    check_address(host, "--host")
    if backlog_limit < 1:
        raise UsageError(f"--backlog-limit {backlog_limit} must be at least 1")
    ensure_free(port, "choose another with --port (0: any free one)")
    where, output = surroundings(place), Output(json)

    def started(url: str) -> None:
        output.say(f"runtime API  {url}")
        output.say("Ctrl-C stops it.")
        output.result({"api": url})

    settings = ApiSettings(backlog_limit=backlog_limit)
    return run_part(health, lambda ready: run_api(where, port, settings, both(started, ready), host))


def run_part(health: HealthPlace, part: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]) -> int:
    """Run a part until it is told to stop; what it is called with says that it is ready."""
    if health.health_port is not None:
        check_port(health.health_port, "--health-port")
        check_address(health.health_host, "--health-host")
    with contextlib.suppress(KeyboardInterrupt):  # the way in which a part is meant to end
        run_async(_with_health(health, part))
    return 0


async def _with_health(place: HealthPlace, part: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]) -> None:
    if place.health_port is None:
        await part(lambda: None)
        return
    from simulator.part_health import PartHealth, serving_health

    health = PartHealth()
    async with serving_health(health, place.health_host, place.health_port):
        await part(health.started)


def both(started: Callable[[str], None], ready: Callable[[], None]) -> Callable[[str], None]:
    """Tell the person and the kubelet."""

    def call(name: str) -> None:
        ready()
        started(name)

    return call


def check_port(port: int, flag: str) -> None:
    """Raise UsageError for what is no port."""
    if not 0 <= port <= MAX_PORT:
        raise UsageError(f"{flag} {port} must be between 0 and {MAX_PORT}")


def check_address(host: str, flag: str) -> None:
    """Raise UsageError for what is no IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError as error:
        raise UsageError(f"{flag} {host!r} must be an IP address such as 127.0.0.1") from error


def surroundings(place: Place) -> "Surroundings":
    """Where queue and cluster are. Raises UsageError."""
    from simulator.parts import Surroundings

    queue = queue_address(place)
    return Surroundings(
        nats_url=queue.nats_url, credentials=queue.credentials, stream=queue.stream, kubeconfig=place.kubeconfig
    )


def queue_address(place: QueuePlace) -> "QueueAddress":
    """Where the queue is, with the credentials read. Raises UsageError."""
    from sidecar.stream import StreamSettings
    from simulator.parts import QueueAddress, checked_nats_url, read_credentials

    try:
        subjects = Subjects(normalise_prefix(place.subject_prefix))
        name = normalise_name(place.stream_name, DEFAULT_STREAM, "stream name")
    except SubjectError as error:
        raise UsageError(str(error)) from error
    url = checked_nats_url(place.nats_url)
    credentials = read_credentials(place.credentials) if place.credentials else None
    return QueueAddress(nats_url=url, credentials=credentials, stream=StreamSettings(name, subjects))


def seconds(value: float, flag: str, least: float = 0.0) -> float:
    """The value, if it is a time that can be waited for. Raises UsageError."""
    if not (math.isfinite(value) and value >= least and value > 0):
        raise UsageError(f"{flag} {value:g} must be {f'at least {least:g}' if least else 'more than 0'} seconds")
    return value
