"""`unitsim activator` and `unitsim api`: how they begin, wait, complain and end."""

import signal
import stat
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from scenarios.local_world import LocalWorld
from sidecar.queue import Queue
from simulator.api_client import ApiClient, ApiRefusedError
from simulator.cli import run
from simulator.jetstream.bucket import ACTIVATOR, BucketSettings, ensure_bucket
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.nats_server import NatsServer
from simulator.platform import Platform
from simulator.processes.spawn import Processes
from tests.e2e.part_process import activator_process, part_process, surroundings
from tests.proof.stage import free_ports

pytestmark = pytest.mark.e2e

NATS_URL = ("--nats-url", "nats://127.0.0.1:1")
GARBAGE = "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n-----BEGIN USER NKEY SEED-----\nSUx\n"


def private_file(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("part", ["activator", "api"])
@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [
        pytest.param(None, 0, "No such file", id="missing"),
        pytest.param("no identity", 0o600, "JWT", id="something else"),
        pytest.param("\xff", 0o600, "not text", id="not text"),
        pytest.param(GARBAGE, 0o600, "no key", id="a seed that is none"),
        pytest.param(GARBAGE, 0o644, "chmod 600", id="readable by others"),
        pytest.param(GARBAGE, 0o620, "chmod 600", id="writable by the group"),
    ],
)
def test_bad_credentials_files(
    part: str, content: str | None, mode: int, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.creds"
    if content is not None:
        private_file(path, content, mode)
    assert run([part, "--kubeconfig", "/none", *NATS_URL, "--credentials", str(path)]) == 2
    [told] = capsys.readouterr().err.splitlines()
    assert str(path) in told
    assert problem in told
    assert "SUx" not in told


def test_a_directory_is_no_credentials_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["activator", "--kubeconfig", "/none", *NATS_URL, "--credentials", str(tmp_path)]) == 2
    assert "no regular file" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["activator", "api"])
@pytest.mark.parametrize("content", [None, "{}", "[", "apiVersion: v1\nkind: Config\n"])
def test_bad_kubeconfigs(part: str, content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    port = ["--port", "0"] if part == "api" else []
    assert run([part, "--kubeconfig", str(path), *NATS_URL, *port]) == 4
    told, *_ = capsys.readouterr().err.splitlines()
    assert f"cannot use the kubeconfig {path}" in told


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["activator", "--nats-url", "nats://secret@"], "--nats-url must be"),
        (["activator", "--nats-url", "http://secret@127.0.0.1:4222"], "--nats-url must be"),
        (["activator", *NATS_URL, "--subject-prefix", "a..b"], "'a..b'"),
        (["activator", *NATS_URL, "--stream-name", "a b"], "'a b'"),
        (["activator", *NATS_URL, "--concurrency", "0"], "--concurrency 0"),
        (["activator", *NATS_URL, "--gpu-budget", "-1"], "--gpu-budget -1"),
        (["activator", *NATS_URL, "--lease", "0"], "--lease 0"),
        (["activator", *NATS_URL, "--ack-wait", "0.5"], "--ack-wait 0.5"),
        (["activator", *NATS_URL, "--heartbeat-interval", "nan"], "--heartbeat-interval nan"),
        (["activator", *NATS_URL, "--worker-ready-wait", "inf"], "--worker-ready-wait inf"),
        (["api", *NATS_URL, "--port", "70000"], "--port 70000"),
        (["api", *NATS_URL, "--port", "0", "--backlog-limit", "0"], "--backlog-limit 0"),
    ],
)
def test_wrong_usage_of_parts(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*arguments, "--kubeconfig", "/none"]) == 2
    [told] = capsys.readouterr().err.splitlines()
    assert hint in told
    assert "secret" not in told


@pytest.mark.platform(activators=0)
async def test_s23_each_part_gets_an_identity_of_its_own(platform: Platform) -> None:
    paths = [platform.credentials_for(role) for role in ("activator", "activator", "api")]
    texts = {path.read_text() for path in paths if path}
    assert len(texts) == len(set(paths)) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path} == {0o600}


@pytest.mark.platform(activators=0, open=True)
async def test_an_open_platform_has_no_identities(platform: Platform) -> None:
    assert platform.credentials_for("activator") is None


@pytest.mark.platform(activators=0)
async def test_an_activator_and_an_api_beside_a_platform(world: LocalWorld) -> None:
    """The platform has no activator of its own: all that happens is their doing."""
    async with AsyncExitStack() as stack:
        activator, _ = await stack.enter_async_context(activator_process(world.platform))
        arguments = ("api", *surroundings(world.platform, "api"), "--port", "0")
        api = await stack.enter_async_context(part_process(*arguments))
        client = await stack.enter_async_context(ApiClient((await api.announced())["api"]))
        await world.ready_pool("p")
        answer = await client.invoke({"serverlessRequestID": "p", "mode": "sync", "payload": 1, "invocationID": "one"})
        assert (answer["statusCode"], answer["invocationID"]) == (200, "one")
        assert await api.end(signal.SIGINT) == 0
        assert await activator.end(signal.SIGTERM) == 0
        assert activator.dispatched == ["one"]
        for part in (api, activator):
            assert part.count("Traceback") == 0


@pytest.mark.platform(activators=0)
async def test_the_backlog_limit_of_an_api(platform: Platform) -> None:
    """Nobody takes invocations, so the first waits and fills the pool, as soon as the API has read that it does."""
    call = {"serverlessRequestID": "p", "mode": "async", "payload": 1}
    arguments = ("api", *surroundings(platform, "api"), "--port", "0", "--backlog-limit", "1")
    async with part_process(*arguments) as api, ApiClient((await api.announced())["api"]) as client:

        async def fill() -> None:
            for _ in range(100):
                await client.invoke(call)

        with pytest.raises(ApiRefusedError) as refused:
            await fill()
        assert (refused.value.status, refused.value.code) == (503, "backpressure")


async def test_parts_wait_for_queue_and_cluster_and_say_so_once(processes: Processes, tmp_path: Path) -> None:
    nats_port, kube_port = free_ports(2)
    kube = KubeServer(ResourceStore(), kube_port)
    kube.write_kubeconfig(tmp_path / "kubeconfig")
    where = ("--kubeconfig", str(tmp_path / "kubeconfig"), "--nats-url", f"nats://127.0.0.1:{nats_port}")
    async with part_process("activator", *where) as activator, part_process("api", *where, "--port", "0") as api:
        for part in (activator, api):
            await part.logged("waiting for the queue")
        async with AsyncExitStack() as stack:
            nats = await stack.enter_async_context(NatsServer(processes, tmp_path / "nats", port=nats_port))
            owner = await stack.enter_async_context(Queue.connect(nats.url, client_name="test"))
            await owner.ensure_stream()
            await ensure_bucket(owner, BucketSettings(ACTIVATOR))
            assert (await api.announced())["api"].startswith("http://127.0.0.1:")
            await activator.logged("waiting for the Kubernetes API")
            await stack.enter_async_context(kube)
            assert (await activator.announced())["activator"].startswith("activator-")
            await activator.logged("leads now")
            for part in (activator, api):
                assert part.count("waiting for the queue") == 1
            assert activator.count("waiting for the Kubernetes API") == 1
            for part in (activator, api):
                assert await part.end(signal.SIGTERM) == 0
                assert part.count("Traceback") == 0


@pytest.mark.parametrize("part", ["activator", "api"])
async def test_a_part_that_waits_can_be_stopped(part: str, tmp_path: Path) -> None:
    [nats_port] = free_ports(1)
    KubeServer(ResourceStore(), 1).write_kubeconfig(tmp_path / "kubeconfig")
    where = ("--kubeconfig", str(tmp_path / "kubeconfig"), "--nats-url", f"nats://127.0.0.1:{nats_port}")
    async with part_process(part, *where, *(("--port", "0") if part == "api" else ())) as waiting:
        await waiting.logged("waiting for the queue")
        assert await waiting.end(signal.SIGTERM) == 0
        assert waiting.count("Traceback") == 0


async def test_an_activator_that_lost_the_queue_ends_in_order(processes: Processes, tmp_path: Path) -> None:
    async with KubeServer(ResourceStore()) as kube:
        kube.write_kubeconfig(tmp_path / "kubeconfig")
        async with AsyncExitStack() as stack:
            nats = await stack.enter_async_context(NatsServer(processes, tmp_path / "nats"))
            async with Queue.connect(nats.url, client_name="test") as owner:
                await owner.ensure_stream()
                await ensure_bucket(owner, BucketSettings(ACTIVATOR))
            where = ("--kubeconfig", str(tmp_path / "kubeconfig"), "--nats-url", nats.url)
            async with part_process("activator", *where) as activator:
                await activator.logged("leads now")
                await stack.aclose()
                await activator.logged("queue connection lost")
                assert await activator.end(signal.SIGTERM) == 0
                assert activator.count("Traceback") == 0
