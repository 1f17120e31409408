"""Deployments become real processes, fail as on a cluster, and leave nothing behind."""

import asyncio
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from framework.contract import DEFAULT_SOCKET_PATH, SOCKET_DIR, SOCKET_PATH_ENV
from simulator.kube.kinds import DEPLOYMENT, Object
from simulator.processes.availability import mount_namespaces_available

pytestmark = pytest.mark.e2e

SLEEP = "exec sleep 600"
VOLUME: dict[str, Any] = {"volumes": [{"name": "sockets", "emptyDir": {}}]}
MOUNT: dict[str, Any] = {"volumeMounts": [{"name": "sockets", "mountPath": SOCKET_DIR}]}

SOCKET_PROGRAM = f"""
import os, socket, time
path = os.environ.get("{SOCKET_PATH_ENV}", "{DEFAULT_SOCKET_PATH}")
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
print(os.environ["NAME"], path, *sorted(os.listdir(os.path.dirname(path))), flush=True)
time.sleep(600)
"""

HTTP_PROGRAM = """
import http.server, os, pathlib
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if pathlib.Path(self.path[1:]).exists() else 503)
        self.end_headers()
    def log_message(self, *_):
        pass
print("port", os.environ["HEALTH_PORT"], flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["HEALTH_PORT"])), Handler).serve_forever()
"""


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines()


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def exists(path: str) -> bool:
    return Path(path).exists()


@pytest.mark.parametrize(
    "namespaces",
    [
        pytest.param(True, marks=pytest.mark.skipif(not mount_namespaces_available(), reason="no mount namespaces")),
        False,
    ],
    ids=["mount namespaces", "fallback"],
)
async def test_two_pods_with_one_socket_path_do_not_meet(start_bench: Any, namespaces: bool) -> None:
    async with start_bench(mount_namespaces=namespaces) as bench:
        paths = []
        for name in ("one", "two"):
            # With namespaces the program needs no variable: the very path of the contract is its own.
            env = {"NAME": name} if namespaces else {"NAME": name, SOCKET_PATH_ENV: DEFAULT_SOCKET_PATH}
            main = bench.python(SOCKET_PROGRAM, name, env, **MOUNT)
            wait = f"until [ -S ${{{SOCKET_PATH_ENV}:-{DEFAULT_SOCKET_PATH}}} ]; do sleep 0.01; done; {SLEEP}"
            peer = bench.container(wait, f"{name}-peer", restartPolicy="Always", env=main["env"], **MOUNT)
            await bench.apply(name, main, initContainers=[peer], **VOLUME)
            await bench.pod(name, bench.is_ready)
            who, path, *entries = (await bench.logged(name)).split()
            assert who == name
            assert entries == ["framework.sock"]
            paths.append(path)
        if namespaces:
            assert paths == [DEFAULT_SOCKET_PATH] * 2
            assert not exists(DEFAULT_SOCKET_PATH)
        else:
            assert len(set(paths)) == 2
            assert all(path.startswith(f"{SOCKET_DIR}/") for path in paths)
    assert not any(exists(path) or exists(str(Path(path).parent)) for path in paths if path != DEFAULT_SOCKET_PATH)


async def test_containers_start_and_end_in_order(bench: Any) -> None:
    order = "echo $NAME up >> $DIR/log; trap 'echo $NAME down >> $DIR/log; exit 0' TERM; sleep 600 & wait"
    shared: dict[str, Any] = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}

    def part(name: str, **extra: Any) -> Object:
        # The volume has no place in this machine's tree, so a variable tells where it is.
        env = [{"name": "NAME", "value": name}, {"name": "DIR", "value": "/shared"}]
        made: Object = bench.container(order, name, env=env, **shared, **extra)
        return made

    probe = {"startupProbe": {"exec": {"command": ["sh", "-c", "grep -q first.up $DIR/log"]}, "periodSeconds": 1}}
    setup = bench.container("echo setup up > $DIR/log", "setup", env=[{"name": "DIR", "value": "/shared"}], **shared)
    await bench.apply(
        "order",
        part("main"),
        initContainers=[setup, part("first", restartPolicy="Always", **probe), part("second", restartPolicy="Always")],
        volumes=[{"name": "shared", "emptyDir": {}}],
        securityContext={"fsGroup": os.getegid()},
    )
    pod = await bench.pod("order", bench.is_ready)
    directory = bench.directory / "pods" / pod["metadata"]["uid"]
    log = directory / "volumes/shared/log"

    async def all_are_up() -> bool:
        return lines_of(log) == ["setup up", "first up", "second up", "main up"]

    await bench.until(all_are_up)
    keep = os.open(log, os.O_RDONLY)  # to be read after its removal
    assert mode_of(log.parent) == 0o770
    assert [entry.container for entry in bench.kubelet.containers() if entry.pid] == ["first", "second", "main"]
    await bench.cluster.delete(DEPLOYMENT, "order", "default")
    await bench.gone("order")
    assert os.read(keep, 4096).decode().splitlines()[4:] == ["main down", "second down", "first down"]
    os.close(keep)
    last = bench.seen[-1]
    assert last["status"]["phase"] == "Succeeded"
    assert bench.condition(last, "Ready") == "False"
    assert not directory.exists()


async def test_probes_on_a_port_that_both_pods_want(bench: Any) -> None:
    """Both name port 8091; each gets its own, and its variable follows."""
    probes: dict[str, Any] = {
        "startupProbe": {"httpGet": {"path": "/up", "port": 8091}, "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8091}, "periodSeconds": 1, "failureThreshold": 1},
    }
    for name in ("one", "two"):
        await bench.apply(name, bench.python(HTTP_PROGRAM, name, {"HEALTH_PORT": "8091"}, **probes))
    ports, homes = [], []
    for name in ("one", "two"):
        pod = await bench.pod(name, lambda pod: "running" in bench.state(pod)["state"])
        assert not bench.state(pod)["started"]
        home = bench.directory / "pods" / pod["metadata"]["uid"] / "scratch" / name
        ports.append((await bench.logged(name)).split()[1])
        (home / "up").touch()
        pod = await bench.pod(name, lambda pod: bench.state(pod).get("started") is True)
        assert not bench.state(pod)["ready"]
        (home / "ready").touch()
        await bench.pod(name, bench.is_ready)
        homes.append(home)
    assert len({*ports, "8091"}) == 3
    (homes[0] / "ready").unlink()
    pod = await bench.pod("one", lambda pod: not bench.is_ready(pod))
    assert bench.state(pod)["started"]
    assert bench.state(pod)["restartCount"] == 0
    await bench.until_event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")


@pytest.mark.parametrize("strategy", ["Recreate", "RollingUpdate"])
async def test_template_change(bench: Any, strategy: str) -> None:
    await bench.apply("change", bench.container(f"echo one; {SLEEP}"), strategy=strategy)
    old = await bench.pod("change", bench.is_ready)
    template = {"spec": {"containers": [bench.container(f"echo two; {SLEEP}")]}}
    await bench.cluster.patch(DEPLOYMENT, "change", {"spec": {"template": template}}, "default")
    new = await bench.pod(
        "change", lambda pod: pod["metadata"]["uid"] != old["metadata"]["uid"] and bench.is_ready(pod)
    )

    async def one_is_left() -> bool:
        return (len(bench.pods.objects()), len(bench.kubelet.containers())) == (1, 1)

    await bench.until(one_is_left)
    assert await bench.logged("main") == "two\n"
    uids = [pod["metadata"]["uid"] for pod in bench.seen]
    last_of_old = len(uids) - 1 - uids[::-1].index(old["metadata"]["uid"])
    assert (last_of_old < uids.index(new["metadata"]["uid"])) == (strategy == "Recreate")


async def test_scaling(bench: Any) -> None:
    await bench.apply("many", bench.container(SLEEP), replicas=3)

    async def until_replicas(number: int) -> None:
        async def reached() -> bool:
            status = (await bench.cluster.get(DEPLOYMENT, "many", "default")).get("status", {})
            counts = (status.get("readyReplicas", 0), len(bench.kubelet.containers()))
            return counts == (number, number)

        await bench.until(reached)

    await until_replicas(3)
    assert len({pod["metadata"]["uid"] for pod in bench.seen}) == 3
    for number in (1, 0, 2):
        await bench.cluster.patch(DEPLOYMENT, "many", {"spec": {"replicas": number}}, "default")
        await until_replicas(number)


async def test_environment_is_that_of_the_pod(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "1")
    await bench.apply("env", bench.container(f"env; echo; {SLEEP}", env=[{"name": "A", "value": "b"}]))
    pod = await bench.pod("env", bench.is_ready)
    lines = (await bench.logged("main", 4)).splitlines()
    names = {line.split("=")[0] for line in lines if line}
    assert names <= {"A", "HOME", "PATH", "LANG", "LC_ALL", "TZ", "PWD", "SHLVL", "_"}
    assert "A=b" in lines
    assert f"HOME={bench.directory}/pods/{pod['metadata']['uid']}/scratch/main" in lines


@pytest.mark.parametrize("moment", ["before the pod", "starting", "running"])
async def test_cancelled_kubelet_leaves_nothing(bench: Any, moment: str) -> None:
    before = set(psutil.Process().children())
    for number in range(3):
        await bench.apply(f"app{number}", bench.container("trap '' TERM; sleep 600"), initContainers=[
            bench.container(SLEEP, "side", restartPolicy="Always"),
        ], terminationGracePeriodSeconds=0)  # fmt: skip
    if moment == "starting":

        async def one_is_being_started() -> bool:
            return set(psutil.Process().children()) > before

        await bench.until(one_is_being_started)
    if moment == "running":
        for number in range(3):
            await bench.pod(f"app{number}", bench.is_ready)
    bench.kubelet_task.cancel()
    await asyncio.wait([bench.kubelet_task])
    assert bench.kubelet_task.cancelled()
    assert set(psutil.Process().children()) <= before
    assert not bench.kubelet.containers()
    assert not list((bench.directory / "pods").glob("*"))
