"""The installed objects, run as processes of this machine: each pod's own command line, files and environment."""

import asyncio
import base64
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import ClientSession

from simulator.install.keys import PlatformKeys
from simulator.install.manifests import manifests
from simulator.install.names import API_PORT, HEALTH_PORT, NATS_MONITOR_PORT, NATS_PORT
from simulator.install.settings import InstallSettings
from simulator.kube.kinds import Object
from simulator.nats_server import find_server
from simulator.processes.process import Process
from simulator.processes.spawn import Processes
from tests.e2e.part_process import WAIT_S, PartProcess
from tests.proof.stage import free_ports

POLL_S: Final = 0.05


class Installed:
    """The objects of one installation, by kind and name."""

    def __init__(self, directory: Path, settings: InstallSettings) -> None:
        self.keys = PlatformKeys.fresh()
        self.settings = settings
        self.directory = directory
        self.objects = manifests(settings, self.keys)
        self.nats_url = ""

    def get(self, kind: str, name: str) -> Object:
        [found] = [obj for obj in self.objects if (obj["kind"], obj["metadata"]["name"]) == (kind, name)]
        return found

    def mount(self, pod: Object) -> dict[str, str]:
        """Write what the pod's volumes hold; the place on this disk for each mount path."""
        places = {}
        for mount in pod["containers"][0].get("volumeMounts", []):
            [volume] = [each for each in pod["volumes"] if each["name"] == mount["name"]]
            place = self.directory / f"{pod['containers'][0]['name']}-{mount['name']}"
            place.mkdir(parents=True, exist_ok=True)
            places[mount["mountPath"]] = str(place)
            for name, content in self._files(volume).items():
                (place / name).write_bytes(content)
                (place / name).chmod(volume.get("secret", {}).get("defaultMode", 0o644))
        return places

    def _files(self, volume: Object) -> dict[str, bytes]:
        if secret := volume.get("secret"):
            data = self.get("Secret", secret["secretName"])["data"]
            names = {item["key"]: item["path"] for item in secret.get("items", [])} or {name: name for name in data}
            return {path: base64.b64decode(data[key]) for key, path in names.items()}
        return {
            name: text.encode() for name, text in self.get("ConfigMap", volume["configMap"]["name"])["data"].items()
        }


@asynccontextmanager
async def queue_server(installed: Installed, processes: Processes) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """nats-server with the configuration of the ConfigMap, but other ports and another disk; yields its restart."""
    port, monitor = free_ports(2)
    directory = installed.directory / "nats"
    directory.mkdir()
    text = installed.get("ConfigMap", "gpuunit-sim-nats")["data"]["nats-server.conf"]
    for inside, here in (
        (f": {NATS_PORT}", f": {port}"),
        (f": {NATS_MONITOR_PORT}", f": {monitor}"),
        ('"/data', f'"{directory}'),
    ):
        assert inside in text
        text = text.replace(inside, here)
    config = directory / "nats-server.conf"
    config.write_text(text)
    binary = await find_server(processes, directory)

    async def start() -> Process:
        server = await processes.start(
            [str(binary.path), "--config", str(config), "--addr", "127.0.0.1"],
            env={"POD_NAME": "nats-0"},
            cwd=directory,
            log=directory / "log",
        )
        await answers(f"http://127.0.0.1:{monitor}/healthz", 200)
        return server

    server = await start()

    async def restart() -> None:
        nonlocal server
        await server.kill()
        server = await start()

    installed.nats_url = f"nats://127.0.0.1:{port}"
    try:
        yield restart
    finally:
        await server.terminate(5)


@asynccontextmanager
async def pod_process(
    installed: Installed, part: str, kubeconfig: Path | None
) -> AsyncIterator[tuple[PartProcess, str]]:
    """A part, as its Deployment says, in an environment of nothing else; and the URL of its API, or of its health."""
    pod = installed.get("Deployment", f"gpuunit-sim-{part}")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    ports = dict(zip((str(API_PORT), str(HEALTH_PORT)), map(str, free_ports(2)), strict=True))
    served = ports[str(API_PORT) if str(API_PORT) in container["args"] else str(HEALTH_PORT)]
    places = installed.mount(pod)
    given = {entry["name"]: entry.get("value", "127.0.0.1") for entry in container["env"]}
    variables = {**given, "UNITSIM_NATS_URL": installed.nats_url}
    arguments = [_here(word, places, variables) for word in container["args"]]
    arguments = [ports.get(word, word) for word in arguments]
    arguments = ["127.0.0.1" if word == "0.0.0.0" else word for word in arguments]
    if kubeconfig is not None:
        assert "KUBECONFIG" in variables
        variables["KUBECONFIG"] = str(kubeconfig)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        shutil.which("unitsim", path=path) or "unitsim",
        *arguments,
        "--json",
        stdout=pipe,
        stderr=pipe,
        env={**variables, "PATH": path},
        cwd=installed.directory,
    )
    running = PartProcess(process)
    try:
        yield running, f"http://127.0.0.1:{served}"
    finally:
        await running.kill()


def _here(word: str, places: dict[str, str], variables: dict[str, str]) -> str:
    for name, value in variables.items():
        word = word.replace(f"$({name})", value)
    for inside, here in places.items():
        word = word.replace(inside, here)
    assert "$(" not in word
    return word


async def answers(url: str, status: int) -> str:
    """Wait until a URL answers with a status, as a probe does; what it says then."""
    async with asyncio.timeout(WAIT_S), ClientSession() as session:
        while True:
            try:
                async with session.get(url) as response:
                    if response.status == status:
                        return await response.text()
            except OSError:
                pass  # it does not listen yet
            await asyncio.sleep(POLL_S)
