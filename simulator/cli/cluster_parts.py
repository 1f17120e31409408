"""The commands `unitsim reconciler`, `issuer` and `results`: what runs in a cluster beside APIs and activators."""

import logging
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sidecar.concurrency import MAX_CONCURRENCY
from simulator.cli.flags import Json, Verbose, switch
from simulator.cli.output import Output, configure_logs
from simulator.cli.parts import (
    NOWHERE,
    HealthPlace,
    Place,
    QueuePlace,
    both,
    queue_address,
    run_part,
    seconds,
    surroundings,
)
from simulator.errors import UsageError

Concurrency = Annotated[int, Parameter(help="Calls that each worker runs at once.")]
Labels = Annotated[list[str], switch(help="KEY=VALUE of the queue's pods, for egress rules; repeatable.")]
Cidrs = Annotated[list[str], switch(help="A range that units may not reach; repeatable. Private ones by default.")]


def reconciler(
    *,
    place: Place,
    health: HealthPlace = NOWHERE,
    sidecar_image: Annotated[str, Parameter(help="What runs beside each worker's program.")] = "",
    queue_namespace: Annotated[str, Parameter(help="Namespace of the queue's pods, for egress rules.")] = "",
    queue_pod_label: Labels = [],  # noqa: B006
    blocked_cidr: Cidrs = [],  # noqa: B006
    concurrency: Concurrency = 1,
    heartbeat_interval: Annotated[float, Parameter(help="Seconds between the workers' signs of life.")] = 15,
    open_queue: Annotated[bool, switch(help="Workers need no credentials at the queue.")] = False,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Make Deployments, Services and policies of a cluster's GPUUnits, until Ctrl-C or SIGTERM.

    The queue's URL is what the workers' sidecars are told. Several may run: one of them leads, by a Lease.
    """
    from simulator.cluster_parts import run_reconciler
    from simulator.reconciler.settings import DEFAULT_BLOCKED_CIDRS, NetworkPolicyTarget, ReconcilerSettings

    configure_logs(logging.INFO if verbose else logging.WARNING)
    where, output = surroundings(place), Output(json)
    labels = _pairs(queue_pod_label, "--queue-pod-label")
    settings = ReconcilerSettings(
        nats_url=where.nats_url,
        subject_prefix=where.stream.subjects.prefix,
        stream_name=where.stream.name,
        sidecar_image=sidecar_image,
        heartbeat_interval_s=seconds(heartbeat_interval, "--heartbeat-interval"),
        network_policy_target=NetworkPolicyTarget(queue_namespace, labels) if queue_namespace or labels else None,
        blocked_cidrs=tuple(blocked_cidr) or DEFAULT_BLOCKED_CIDRS,
        max_concurrency=_concurrency(concurrency),
        worker_credentials=not open_queue,
    )

    def started(cluster: str) -> None:
        output.say(f"the reconciler works on {cluster}. Ctrl-C stops it.")
        output.result({"reconciler": cluster})

    return run_part(health, lambda ready: run_reconciler(place.kubeconfig, settings, both(started, ready)))


def issuer(
    *,
    place: Place,
    health: HealthPlace = NOWHERE,
    accounts_credentials: Annotated[Path, Parameter(help="NATS .creds file of a user of the system account.")],
    operator_key: Annotated[Path, Parameter(help="File with the seed of the operator's key.")],
    queue_account: Annotated[str, Parameter(help="Public key of the queue's account.")],
    concurrency: Concurrency = 1,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Set up the queue, and give each worker an identity there, until Ctrl-C or SIGTERM.

    It alone holds the operator's key. One issuer is enough for a platform.
    """
    from simulator.cluster_parts import Trust, read_operator_key, run_issuer
    from simulator.parts import QueueAddress, read_credentials

    configure_logs(logging.INFO if verbose else logging.WARNING)
    where, output = surroundings(place), Output(json)
    if not (queue_account.startswith("A") and queue_account.isalnum()):
        raise UsageError("--queue-account must be the public key of an account: it begins with A")
    accounts = QueueAddress(
        nats_url=where.nats_url, credentials=read_credentials(accounts_credentials), stream=where.stream
    )
    trust = Trust(read_operator_key(operator_key), queue_account, accounts)
    calls = _concurrency(concurrency)

    def started(cluster: str) -> None:
        output.say(f"the issuer works on {cluster}. Ctrl-C stops it.")
        output.result({"issuer": cluster})

    return run_part(health, lambda ready: run_issuer(where, trust, calls, both(started, ready)))


def results(*, place: QueuePlace, health: HealthPlace = NOWHERE, json: Json = False, verbose: Verbose = False) -> int:
    """Copy results from the stream to where the API finds them, until Ctrl-C or SIGTERM. Any number may run."""
    from simulator.cluster_parts import run_results

    configure_logs(logging.INFO if verbose else logging.WARNING)
    where, output = queue_address(place), Output(json)

    def started(stream: str) -> None:
        output.say(f"the result store reads {stream}. Ctrl-C stops it.")
        output.result({"results": stream})

    return run_part(health, lambda ready: run_results(where, both(started, ready)))


def _concurrency(value: int) -> int:
    if not 1 <= value <= MAX_CONCURRENCY:
        raise UsageError(f"--concurrency {value} must be between 1 and {MAX_CONCURRENCY}")
    return value


def _pairs(texts: list[str], flag: str) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in texts)
    if not all("=" in text for text in texts):
        raise UsageError(f"{flag} must have the form KEY=VALUE")
    return pairs
