"""How fast is the embedded Kubernetes API? `python tests/bench/kube.py`; prints a table.

The API is a process of its own; one client here makes 16 requests at a time, over TLS. Figures depend on the machine
and on what else it does. A run takes well under a minute, and leaves no process and no file.
"""

import asyncio
import base64
import json
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
import psutil  # noqa: E402
import yaml  # noqa: E402

from simulator.gpuunit import ACTIVE_NAMESPACE  # noqa: E402
from simulator.kube.kinds import GPUUNIT  # noqa: E402
from simulator.kube.server import KubeServer  # noqa: E402
from simulator.kube.store import ResourceStore  # noqa: E402

OBJECTS: Final = 1000
WATCHERS: Final = 50
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


async def measure() -> None:
    """Start the API, and print the figures."""
    with tempfile.TemporaryDirectory() as directory:
        kubeconfig = Path(directory) / "kubeconfig"
        process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, str(kubeconfig), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(WAIT_S):
                await process.stdout.readline()
                async with _session(kubeconfig) as session:
                    await _figures(session, psutil.Process(process.pid))
                process.stdin.close()
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _figures(session: aiohttp.ClientSession, server: psutil.Process) -> None:
    await _post(session, "warm-up")
    before = server.memory_info().rss
    _say("create", await _per_second(lambda number: _post(session, f"unit-{number}")), "requests/s")
    memory = (server.memory_info().rss - before) / OBJECTS
    _say("get", await _per_second(lambda number: _get(session, f"unit-{number}")), "requests/s")
    _say("merge patch", await _per_second(lambda number: _patch(session, f"unit-{number}", number)), "requests/s")
    _say("memory per 1,000 objects", memory * 1000 / 2**20, "MiB")
    _say(f"watch, {WATCHERS} watchers of {OBJECTS} changes", await _fan_out(session), "events/s")


async def _per_second(call: Callable[[int], Awaitable[None]]) -> float:
    numbers = iter(range(OBJECTS))

    async def caller() -> None:
        for number in numbers:
            await call(number)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as callers:
        for _ in range(AT_A_TIME):
            callers.create_task(caller())
    return OBJECTS / (time.perf_counter() - began)


async def _fan_out(session: aiohttp.ClientSession) -> float:
    """Events per second that all watchers together were given."""
    async with session.get(PATH, params={"limit": "1"}) as response:
        version = (await response.json())["metadata"]["resourceVersion"]
    watches = [await session.get(PATH, params={"watch": "true", "resourceVersion": version}) for _ in range(WATCHERS)]
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for watch in watches:
            tasks.create_task(_follow(watch))
        tasks.create_task(_per_second_of_changes(session))
    took_s = time.perf_counter() - began
    for watch in watches:
        watch.close()
    return OBJECTS * WATCHERS / took_s


async def _per_second_of_changes(session: aiohttp.ClientSession) -> None:
    await _per_second(lambda number: _patch(session, f"unit-{number}", OBJECTS + number))


async def _follow(watch: aiohttp.ClientResponse) -> None:
    for _ in range(OBJECTS):
        assert await watch.content.readline()


async def _post(session: aiohttp.ClientSession, name: str) -> None:
    spec = {"specName": "s1", "gpu": 1, "image": "busybox:1", "serverless": {"enabled": True, "requestID": "pool"}}
    unit = {"apiVersion": GPUUNIT.api_version, "kind": GPUUNIT.kind, "metadata": {"name": name}, "spec": spec}
    async with session.post(PATH, json=unit) as response:
        assert response.status == 201, await response.text()


async def _get(session: aiohttp.ClientSession, name: str) -> None:
    async with session.get(f"{PATH}/{name}") as response:
        assert response.status == 200, await response.text()
        await response.read()


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


def _say(name: str, figure: float, unit: str) -> None:
    sys.stdout.write(f"{name:40} {figure:10,.1f} {unit}\n")


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])) if len(sys.argv) > 1 else measure())
