"""How fast is the embedded Kubernetes API? `python tests/bench/kube.py`, with `--json` for machines.

The API is a process of its own; one client here makes 16 requests at a time, over TLS. Then units are applied by
kubectl to a whole platform. Figures depend on the machine and on what else it does. A run takes about a minute, and
leaves no process and no file.
"""

import argparse
import asyncio
import base64
import json
import logging
import ssl
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

# This file's own directory, which Python puts there, would hide the package `sidecar` behind it.
sys.path[0] = str(Path(__file__).parents[2])

import aiohttp  # noqa: E402
import msgspec  # noqa: E402
import psutil  # noqa: E402
import yaml  # noqa: E402

from simulator.cli.output import configure_logs  # noqa: E402
from simulator.gpuunit import ACTIVE_NAMESPACE  # noqa: E402
from simulator.kube.kinds import GPUUNIT  # noqa: E402
from simulator.kube.server import KubeServer  # noqa: E402
from simulator.kube.store import ResourceStore  # noqa: E402
from tests.bench.kube_ready import Start, median_start, unit_object  # noqa: E402
from tests.kubectl import kubectl_or_reason  # noqa: E402

LISTS: Final = 20
AT_A_TIME: Final = 16
WAIT_S: Final = 120
PATH: Final = f"apis/{GPUUNIT.api_version}/namespaces/{ACTIVE_NAMESPACE}/{GPUUNIT.plural}"
MERGE: Final = {"Content-Type": "application/merge-patch+json"}


async def serve(kubeconfig: Path) -> None:
    """Serve until our standard input ends."""
    async with KubeServer(ResourceStore()) as server:
        server.write_kubeconfig(kubeconfig)
        sys.stdout.write("up\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


class Figures(msgspec.Struct, frozen=True):
    """What was found; `start` is None where there is no kubectl."""

    objects: int
    watchers: int
    creates_per_second: float
    gets_per_second: float
    patches_per_second: float
    listed_objects_per_second: float
    watch_events_per_second: float
    mebibytes_per_1000_objects: float
    start: Start | None = None


async def measure(objects: int, watchers: int, starts: int) -> Figures:
    """Start the API and measure it; then a platform."""
    with tempfile.TemporaryDirectory() as directory:
        kubeconfig = Path(directory) / "kubeconfig"
        process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--serve", str(kubeconfig),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(WAIT_S):
                await process.stdout.readline()
                async with _session(kubeconfig) as session:
                    figures = await _Measurement(session, objects, watchers).figures(psutil.Process(process.pid))
                process.stdin.close()
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        kubectl = kubectl_or_reason()
        start = await median_start(kubectl, Path(directory), starts) if isinstance(kubectl, Path) else None
        return msgspec.structs.replace(figures, start=start)


class _Measurement:
    """Requests of one session, for so many objects each."""

    def __init__(self, session: aiohttp.ClientSession, objects: int, watchers: int) -> None:
        self._session = session
        self._objects = objects
        self._watchers = watchers

    async def figures(self, server: psutil.Process) -> Figures:
        session = self._session
        await _post(session, "warm-up")
        before = server.memory_info().rss
        creates = await self._per_second(lambda number: _post(session, f"unit-{number}"))
        grown = server.memory_info().rss - before
        return Figures(
            objects=self._objects,
            watchers=self._watchers,
            creates_per_second=creates,
            gets_per_second=await self._per_second(lambda number: _get(session, f"{PATH}/unit-{number}")),
            patches_per_second=await self._patches_per_second(0),
            listed_objects_per_second=await self._listed_per_second(),
            watch_events_per_second=await self._fan_out(),
            mebibytes_per_1000_objects=grown / self._objects * 1000 / 2**20,
        )

    async def _per_second(self, call: Callable[[int], Awaitable[object]]) -> float:
        numbers = iter(range(self._objects))

        async def caller() -> None:
            for number in numbers:
                await call(number)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as callers:
            for _ in range(AT_A_TIME):
                callers.create_task(caller())
        return self._objects / (time.perf_counter() - began)

    async def _patches_per_second(self, value: int) -> float:
        """No patch repeats a value, so each is a change."""
        return await self._per_second(lambda number: _patch(self._session, f"unit-{number}", value + number))

    async def _listed_per_second(self) -> float:
        began = time.perf_counter()
        found = [len(json.loads(await _get(self._session, PATH))["items"]) for _ in range(LISTS)]
        took_s = time.perf_counter() - began
        assert found == [self._objects + 1] * LISTS
        return sum(found) / took_s

    async def _fan_out(self) -> float:
        """Events per second that all watchers together were given."""
        version = json.loads(await _get(self._session, f"{PATH}?limit=1"))["metadata"]["resourceVersion"]
        query = {"watch": "true", "resourceVersion": version}
        watches = [await self._session.get(PATH, params=query) for _ in range(self._watchers)]
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for watch in watches:
                tasks.create_task(self._follow(watch))
            tasks.create_task(self._patches_per_second(self._objects))
        took_s = time.perf_counter() - began
        for watch in watches:
            watch.close()
        return self._objects * self._watchers / took_s

    async def _follow(self, watch: aiohttp.ClientResponse) -> None:
        for _ in range(self._objects):
            assert await watch.content.readline()


async def _post(session: aiohttp.ClientSession, name: str) -> None:
    unit = unit_object(name, "busybox:1")
    async with session.post(PATH, json=unit) as response:
        assert response.status == 201, await response.text()


async def _get(session: aiohttp.ClientSession, path: str) -> bytes:
    async with session.get(path) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def _patch(session: aiohttp.ClientSession, name: str, number: int) -> None:
    patch = {"metadata": {"annotations": {"number": str(number)}}}
    async with session.patch(f"{PATH}/{name}", data=json.dumps(patch), headers=MERGE) as response:
        assert response.status == 200, await response.text()


def _session(kubeconfig: Path) -> aiohttp.ClientSession:
    config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=_decoded(cluster["certificate-authority-data"]))
    return aiohttp.ClientSession(
        f"{cluster['server']}/",
        headers={"Authorization": f"Bearer {user['token']}"},
        connector=aiohttp.TCPConnector(ssl=context, limit=0),
        timeout=aiohttp.ClientTimeout(),
    )


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode()


def _table(figures: Figures) -> str:
    rows = [
        ("create", figures.creates_per_second, "requests/s"),
        ("get", figures.gets_per_second, "requests/s"),
        ("merge patch", figures.patches_per_second, "requests/s"),
        (f"list of {figures.objects:,}", figures.listed_objects_per_second, "objects/s"),
        (f"{figures.watchers} watchers of {figures.objects:,} changes", figures.watch_events_per_second, "events/s"),
        ("memory per 1,000 objects", figures.mebibytes_per_1000_objects, "MiB"),
    ]
    if figures.start is not None:
        rows += [
            ("kubectl apply to Ready", figures.start.apply_to_ready_s, "s"),
            ("of this, kubectl itself", figures.start.kubectl_s, "s"),
            ("from the object to Ready", figures.start.created_to_ready_s, "s"),
        ]
    return "".join(f"{name:40} {figure:10,.2f} {unit}\n" for name, figure, unit in rows)


def main() -> None:
    """What the command line asks for."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--objects", type=int, default=1000)
    arguments.add_argument("--watchers", type=int, default=50)
    arguments.add_argument("--starts", type=int, default=9, help="units to apply by kubectl")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    configure_logs(logging.WARNING)
    if chosen.serve:
        asyncio.run(serve(chosen.serve))
        return
    figures = asyncio.run(measure(chosen.objects, chosen.watchers, chosen.starts))
    sys.stdout.write(msgspec.json.encode(figures).decode() + "\n" if chosen.json else _table(figures))


if __name__ == "__main__":
    main()
