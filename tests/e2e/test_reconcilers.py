"""Two reconcilers as processes: one works; one that is killed, stopped or ended is followed by the other."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import DEPLOYMENT, GPUUNIT, LEASE
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore

pytestmark = pytest.mark.e2e

PROGRAM = Path(__file__).with_name("reconciler_process.py")
NAMESPACE = "runtime-instance"
WAIT_S = 30
LEADS, LEADS_NO_MORE = "] leading ", "not leading any more"


class Process:
    """One reconciler."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def says(self, text: str) -> None:
        """Wait until its log, from where it was last read, says so."""
        assert self._process.stderr is not None
        async with asyncio.timeout(WAIT_S):
            async for line in self._process.stderr:
                if text in line.decode():
                    return
        raise AssertionError(f"it ended without saying {text!r}")

    def send(self, what: signal.Signals) -> None:
        self._process.send_signal(what)

    async def end(self, how: signal.Signals) -> None:
        """Send a signal; wait until the process is gone."""
        self.send(how)
        async with asyncio.timeout(WAIT_S):
            await self._process.wait()


class Stage:
    """A cluster whose Deployments are watched."""

    def __init__(self, kubeconfig: Path, cluster: Cluster, deployments: Informer) -> None:
        self.cluster = cluster
        self._kubeconfig = kubeconfig
        self._deployments = deployments
        self.images: list[str] = []
        deployments.on_change(self._note)

    def _note(self, key: tuple[str, str]) -> None:
        deployment = self._deployments.get(*key)
        if deployment is not None:
            self.images.append(sidecar_image(deployment))

    @asynccontextmanager
    async def reconciler(self, name: str) -> AsyncIterator[Process]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), str(self._kubeconfig), name, stderr=asyncio.subprocess.PIPE
        )
        try:
            yield Process(process)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def create_unit(self, name: str) -> None:
        spec = {"specName": "g1.1", "serverless": {"requestID": "tts"}}
        await self.cluster.create(GPUUNIT, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})

    async def deployed_by(self, image: str, name: str = "u1") -> None:
        """Wait until the unit's Deployment is as the named reconciler wants it."""

        def find(deployments: Informer) -> bool | None:
            deployment = deployments.get(NAMESPACE, name)
            return True if deployment and sidecar_image(deployment) == image else None

        await self._deployments.wait_for(find, WAIT_S)

    async def holder(self) -> str | None:
        spec: dict[str, Any] = (await self.cluster.get(LEASE, "gpuunit-reconciler", NAMESPACE))["spec"]
        return spec.get("holderIdentity")


def sidecar_image(deployment: dict[str, Any]) -> str:
    return str(deployment["spec"]["template"]["spec"]["initContainers"][0]["image"])


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    kubeconfig = tmp_path / "kubeconfig"
    async with KubeServer(ResourceStore()) as server:
        server.write_kubeconfig(kubeconfig)
        async with Cluster(kubeconfig, field_manager="test") as cluster:
            deployments = Informer(cluster, DEPLOYMENT, NAMESPACE)
            watching = asyncio.create_task(deployments.run())
            try:
                await deployments.synced(WAIT_S)
                yield Stage(kubeconfig, cluster, deployments)
            finally:
                watching.cancel()
                await asyncio.wait([watching])


async def test_one_works_and_who_is_killed_is_followed(stage: Stage) -> None:
    await stage.create_unit("u1")
    async with stage.reconciler("one") as one:
        await one.says(LEADS)
        async with stage.reconciler("two") as two:
            await stage.deployed_by("one")
            assert await stage.holder() == "one"
            await one.end(signal.SIGKILL)
            await two.says(LEADS)
            await stage.deployed_by("two")
    assert stage.images == ["one", "two"]


async def test_who_is_stopped_and_goes_on_writes_no_more(stage: Stage) -> None:
    """It has what it read before in its hands, and work to do: its time is over all the same."""
    await stage.create_unit("u1")
    async with stage.reconciler("one") as one:
        await one.says(LEADS)
        await stage.deployed_by("one")
        async with stage.reconciler("two") as two:
            one.send(signal.SIGSTOP)
            await two.says(LEADS)
            await stage.deployed_by("two")
            await stage.create_unit("u2")
            await stage.deployed_by("two", "u2")
            one.send(signal.SIGCONT)
            await one.says(LEADS_NO_MORE)
            assert stage.images == ["one", "two", "two"]
            assert await stage.holder() == "two"
            await two.end(signal.SIGKILL)
            await one.says(LEADS)  # again, by a lease of its own
            await stage.deployed_by("one")
            await stage.deployed_by("one", "u2")
    assert stage.images == ["one", "two", "two", "one", "one"]


async def test_who_ends_cleanly_leaves_the_lease_to_nobody(stage: Stage) -> None:
    async with stage.reconciler("one") as one:
        await one.says(LEADS)
        await one.end(signal.SIGINT)
    assert await stage.holder() is None
