"""`unitsim up`: the platform in the foreground."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from sidecar.subjects import SubjectError, normalise_request_id
from simulator.api_client import ApiClient
from simulator.cli.output import Output
from simulator.errors import UsageError
from simulator.kubelet.startup_times import StartupTimes, parse_startup
from simulator.platform import Platform, PlatformOptions, run_platform
from simulator.units import echo_unit
from simulator.waiting import wait_until_ready


async def run_up(options: PlatformOptions, pools: Sequence[str], output: Output) -> None:
    """Start the platform and the pools' units, print the addresses, and wait to be interrupted."""
    requests = [echo_unit(_pool(pool)) for pool in pools]
    started = time.monotonic()
    async with run_platform(options) as platform:
        async with ApiClient(platform.api_url) as api:
            for request in requests:
                await api.create_unit(request)
            for request in requests:
                await wait_until_ready(platform.units, request["name"])
        _announce(platform, pools, time.monotonic() - started, output)
        try:
            await asyncio.Event().wait()
        finally:
            output.say("\nstopping: workers drain, then everything ends")
    if options.keep:
        output.say(f"files kept in {platform.directory}")


def _pool(text: str) -> str:
    try:
        return normalise_request_id(text)
    except SubjectError as error:
        raise UsageError(f"--pool: {error}") from error


def startup_of(texts: Sequence[str]) -> dict[str, StartupTimes]:
    """The times of starts that `--startup` gives, by image.

    Raises:
        UsageError: one cannot be read.
    """
    try:
        return parse_startup(texts)
    except UsageError as error:
        raise UsageError(f"--startup: {error}") from error


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def _announce(platform: Platform, pools: Sequence[str], seconds: float, output: Output) -> None:
    output.say(f"gpuunit-sim is up ({seconds:.1f} s)", style="bold")
    output.say(f"  NATS            {platform.nats_url}")
    if platform.admin_credentials:
        output.say(
            f"                  nats --server {platform.nats_url} --creds {platform.admin_credentials} stream ls"
        )
    output.say(f"  runtime API     {'  '.join(platform.api_urls)}")
    output.say(f"  Kubernetes API  {platform.kube_url}    export KUBECONFIG={platform.kubeconfig}")
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
            "kubeconfig": str(platform.kubeconfig),
            "directory": str(platform.directory),
            "pools": list(pools),
        }
    )
