"""The trust split on running workers (contract section 1): the sidecar knows NATS, the framework beside it does not.

The framework is a hostile one: it looks for credentials, subjects, durable names and addresses wherever its user can.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fixtures.plugin import Worker
from scenarios.local_world import LocalWorld
from scenarios.world import Pool
from simulator.kube.kinds import SECRET
from simulator.processes.availability import separate_users_problem
from simulator.processes.user_range import ClaimedUser
from simulator.reconciler.pod_template import SIDECAR_USER

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(180)]

HOSTILE = Path(__file__).with_name("hostile_framework.py")
hostile_platform = pytest.mark.platform(framework_command=(sys.executable, str(HOSTILE)))
needs_separate_users = pytest.mark.skipif(
    separate_users_problem() is not None,
    reason=f"user code is the same user as the sidecar and may read its memory: {separate_users_problem()}",
)

Finding = tuple[str, str]


async def spy(pool: Pool, **payload: Any) -> tuple[set[Finding], dict[int, Any]]:
    """Let the hostile framework search; return what it found, and how each port answered it."""
    answer = await pool.call(payload, timeoutSeconds=120)
    assert answer["statusCode"] == 200, answer
    body = answer["body"]
    return {(name, place) for name, place in body["found"]}, {entry["port"]: entry for entry in body["ports"]}


def ours(found: set[Finding]) -> set[Finding]:
    """Findings but for those in processes that this run did not start, which are others' affair."""
    mine = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    return {entry for entry in found if not (pid := re.match(r"/proc/(\d+)/", entry[1])) or int(pid[1]) in mine}


@hostile_platform
async def test_a_hostile_framework_finds_nothing_in_what_it_was_given(worker: Worker) -> None:
    """C8, C9, S22: whatever users there are."""
    found, _ = await spy(worker.pool, own_only=True)
    assert found == set()


@needs_separate_users
@hostile_platform
async def test_a_hostile_framework_finds_nothing_on_the_machine(world: LocalWorld) -> None:
    """C8, C9, S22, S23: two workers, so that a neighbour's things lie about too."""
    pool = await world.ready_pool("victim")
    await world.ready_pool("neighbour")
    found, ports = await spy(pool, since=started(world))
    sidecars = {entry.pid for entry in world.platform.kubelet.containers() if entry.container == "serverless-sidecar"}
    # The kernel shows everybody where a process has mounts: that a volume exists, not what is in it.
    allowed = {("name of the credentials", f"/proc/{pid}/{file}") for pid in sidecars for file in MOUNT_TABLES}
    assert len(sidecars) == 2
    assert ours(found) - allowed == set()
    # All pods share this machine's network, as the containers of one pod do on a cluster: ports can be found, and must
    # not help.
    assert ports[port_of(world.platform.nats_url)]["nats"] == "refused"
    kubernetes = ports[port_of(world.platform.kube_url)]["http"]
    assert {status.split()[1] for status in kubernetes.values()} == {"403"}


def started(world: LocalWorld) -> float:
    """Unix time of the platform's start, or a moment before."""
    return world.platform.kubeconfig.stat().st_mtime - 5


MOUNT_TABLES = ("mounts", "mountinfo")


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def test_the_sidecar_has_what_the_framework_must_not_have(worker: Worker, world: LocalWorld) -> None:
    """The same things are there to be found: in the sidecar's environment, connections and credentials file."""
    sidecar, framework = (psutil.Process(pid) for pid in (worker.sidecar_pid, worker.framework_pid))
    environment, port = sidecar.environ(), port_of(world.platform.nats_url)
    assert str(port) in environment["SERVERLESS_NATS_URL"]
    assert port in {getattr(connection.raddr, "port", None) for connection in sidecar.net_connections("inet")}
    assert [connection.raddr for connection in framework.net_connections("inet")] == []
    [secret] = [held for held in await world.platform.cluster.list(SECRET) if held["metadata"]["name"] == SECRET_NAME]
    assert "nats.creds" in secret["data"]
    assert mode_of(environment["SERVERLESS_NATS_CREDENTIALS_FILE"]) == 0o440
    assert "@" not in environment["SERVERLESS_NATS_URL"]
    if separate_users_problem() is None:
        assert sidecar.uids().real != framework.uids().real
        assert 0 not in (sidecar.uids().real, framework.uids().real)


def mode_of(path: str) -> int:
    return Path(path).stat().st_mode & 0o777


SECRET_NAME = "sd-webui-template-nats"


@needs_separate_users
@hostile_platform
async def test_the_search_finds_it_all_where_user_code_is_the_sidecars_user(
    world: LocalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that "found nothing" means something: it is the separate user that keeps it from these."""
    monkeypatch.setattr(ClaimedUser, "uid", lambda _: SIDECAR_USER)
    pool = await world.ready_pool("sd-webui")
    found, _ = await spy(pool, since=started(world))
    [pid] = [entry.pid for entry in world.platform.kubelet.containers() if entry.container == "serverless-sidecar"]
    names = {name for name, place in found if place.startswith(f"/proc/{pid}/")}
    assert names >= {"credentials file", "nkey seed", "JSON Web Token", "queue address", "subject", "durable name"}


@pytest.fixture
def planted() -> Iterator[Path]:
    """A file that everybody may read, in a directory that everybody may enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        file = Path(name, "planted")
        file.write_text("-----BEGIN NATS USER JWT-----\n")
        yield file


SEED = "SU" + "A" * 56


def test_the_search_finds_what_is_planted(planted: Path) -> None:
    """In the environment, in a readable file, in another process."""
    script = (
        f"import sys; sys.path.insert(0, {str(HOSTILE.parent)!r})\n"
        "import hostile_framework as h, json\n"
        f"h.PLACES = ({str(planted.parent)!r},)\n"  # as root it would read the whole machine
        f"print(json.dumps(sorted({{*h.search_own(), *h.search_machine({time.time() - 5})}})))"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(planted.parent), "LEAK": f"nats://{SEED}"}
    with subprocess.Popen(["sleep", "600"], env={"NEIGHBOUR": SEED}) as neighbour:
        try:
            answer = subprocess.run(
                [sys.executable, "-c", script], env=environment, cwd=planted.parent, capture_output=True, check=True
            )
        finally:
            neighbour.kill()
    found = {(name, place) for name, place in json.loads(answer.stdout)}
    assert found >= {
        ("queue address", "environment"),
        ("nkey seed", "environment"),
        ("credentials file", str(planted)),
        ("nkey seed", f"/proc/{neighbour.pid}/environ"),
    }


@pytest.mark.platform(open=True, framework_command=(sys.executable, str(HOSTILE)))
async def test_the_search_finds_a_queue_that_lets_everybody_in(worker: Worker, world: LocalWorld) -> None:
    _, ports = await spy(worker.pool, since=time.time())
    assert ports[port_of(world.platform.nats_url)]["nats"] == "accepted"


async def test_the_framework_gets_its_pods_environment_and_little_else(worker: Worker) -> None:
    environment = psutil.Process(worker.framework_pid).environ()
    assert {name for name in environment if name.startswith("SERVERLESS_")} == {
        "SERVERLESS_REQUEST_ID",
        "SERVERLESS_WORKER_NAME",
        "SERVERLESS_WORKER_NAMESPACE",
        "SERVERLESS_FRAMEWORK_SOCKET_PATH",
        "SERVERLESS_FRAMEWORK_INVOKE_PATH",
        "SERVERLESS_FRAMEWORK_HEALTH_PATH",
    }
    others = {name for name in environment if not name.startswith("SERVERLESS_")}
    assert others <= {"SPEC_NAME", "UNIT_NAME", "GPU_COUNT", "MEMORY_LIMIT", "PATH", "LANG", "LC_ALL", "TZ", "HOME"}
