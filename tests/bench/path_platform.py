"""The real platform without its activator: `python -m tests.bench.path_platform WORKERS CONCURRENCY`.

When all workers of the pool are Ready, it prints where everything is, as one line of JSON, and goes on until SIGTERM.
"""

import asyncio
import contextlib
import logging
import sys

import msgspec

from scenarios.load.probes import unit
from simulator.api_client import ApiClient
from simulator.cli.execution import run_async
from simulator.cli.output import configure_logs
from simulator.platform import PlatformOptions, run_platform
from simulator.waiting import wait_until_ready
from tests.bench.processes import POOL


class Whereabouts(msgspec.Struct):
    """What other programs need to take part: addresses, and files with an identity for each role."""

    nats_url: str
    kubeconfig: str
    activator: str
    api: str
    admin: str


async def main(workers: int, concurrency: int) -> None:
    """Run it until cancelled."""
    names = [f"w{number}" for number in range(1, workers + 1)]
    async with run_platform(PlatformOptions(max_concurrency=concurrency, activators=0)) as platform:
        async with ApiClient(platform.api_url) as api:
            for name in names:
                await api.create_unit(unit(name, POOL, maxAvailableCount=workers))
            for name in names:
                await wait_until_ready(platform.units, name)
        roles = {role: str(platform.credentials_for(role)) for role in ("activator", "api", "admin")}
        where = Whereabouts(nats_url=platform.nats_url, kubeconfig=str(platform.kubeconfig), **roles)
        sys.stdout.write(msgspec.json.encode(where).decode() + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    configure_logs(logging.WARNING)
    with contextlib.suppress(KeyboardInterrupt):  # the way in which it is meant to end
        run_async(main(*map(int, sys.argv[1:])))
