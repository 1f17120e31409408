"""`unitsim up`: the platform in the foreground."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sidecar.subjects import SubjectError, normalise_request_id
from simulator.api_client import ApiClient
from simulator.cli.kubeconfig import copied
from simulator.cli.output import Output
from simulator.errors import UsageError
from simulator.kubelet.startup_times import StartupTimes, parse_startup
from simulator.nodes import NodeSpec, parse_nodes
from simulator.platform import Platform, PlatformOptions, run_platform
from simulator.processes.user_range import parse_users
from simulator.units import echo_unit
from simulator.waiting import wait_until_ready


async def run_up(options: PlatformOptions, pools: Sequence[str], kubeconfig: Path | None, output: Output) -> None:
    """Start the platform and the pools' units, print the addresses, and wait to be interrupted.

    `kubeconfig` is where a copy of the administrator's kubeconfig is kept meanwhile.

    Raises:
        UsageError: it cannot be written there.
    """
    requests = [echo_unit(_pool(pool)) for pool in pools]
    started = time.monotonic()
    async with run_platform(options) as platform:
        async with ApiClient(platform.api_url) as api:
            for request in requests:
                await api.create_unit(request)
            for request in requests:
                await wait_until_ready(platform.units, request["name"])
        place = copied(platform.kubeconfig, kubeconfig) if kubeconfig else nullcontext()
        try:
            with place:
                _announce(platform, pools, kubeconfig or platform.kubeconfig, time.monotonic() - started, output)
                await asyncio.Event().wait()
        finally:
            output.say("\nstopping: workers drain, then everything ends")
    if options.keep:
        output.say(f"files kept in {platform.directory}")


def _pool(text: str) -> str:
    with _named("--pool"):
        return normalise_request_id(text)


def startup_of(texts: Sequence[str]) -> dict[str, StartupTimes]:
    """The times of starts that `--startup` gives, by image.

    Raises:
        UsageError: one cannot be read.
    """
    with _named("--startup"):
        return parse_startup(texts)


def nodes_of(texts: Sequence[str]) -> tuple[NodeSpec, ...]:
    """The nodes that `--node` gives; without any the one that has room for everything.

    Raises:
        UsageError: one cannot be read.
    """
    with _named("--node"):
        return parse_nodes(texts) or (NodeSpec(),)


def users_of(text: str) -> range:
    """The users that `--pod-users` gives.

    Raises:
        UsageError: it cannot be read.
    """
    with _named("--pod-users"):
        return parse_users(text)


@contextmanager
def _named(flag: str) -> Iterator[None]:
    """Say which flag it is whose value cannot be read."""
    try:
        yield
    except (SubjectError, UsageError) as error:
        raise UsageError(f"{flag}: {error}") from error


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def _announce(platform: Platform, pools: Sequence[str], kubeconfig: Path, seconds: float, output: Output) -> None:
    output.say(f"gpuunit-sim is up ({seconds:.1f} s)", style="bold")
    output.say(f"  NATS            {platform.nats_url}")
    if platform.admin_credentials:
        output.say(
            f"                  nats --server {platform.nats_url} --creds {platform.admin_credentials} stream ls"
        )
    output.say(f"  runtime API     {'  '.join(platform.api_urls)}")
    output.say(f"  Kubernetes API  {platform.kube_url}    export KUBECONFIG={kubeconfig.absolute()}")
    output.say(f"  files           {platform.directory}")
    for pool in pools:
        output.say(f'  pool            {pool} is Ready: unitsim invoke {pool} \'{{"prompt":"draw a robot"}}\'')
    output.say("Ctrl-C stops everything.")
    output.result(
        {
            "nats": platform.nats_url,
            "natsCredentials": _text(platform.admin_credentials),
            "natsReaderCredentials": _text(platform.reader_credentials),
            "api": platform.api_url,
            "apis": list(platform.api_urls),
            "kubernetes": platform.kube_url,
            "kubeconfig": str(kubeconfig.absolute()),
            "directory": str(platform.directory),
            "pools": list(pools),
        }
    )
