"""Users, groups and Secrets of a pod: what each of its containers may read, and what it may not."""

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import psutil
import pytest

from framework.contract import SOCKET_DIR
from simulator.kube.kinds import DEPLOYMENT, SECRET, Object
from simulator.kubelet.env_sources import ConfigError
from simulator.kubelet.security import user_of, volume_group
from simulator.kubelet.volumes import FileSource, FileVolume, file_volumes
from simulator.processes.availability import separate_users_problem
from simulator.processes.user_range import DEFAULT_USERS
from simulator.processes.users import User

SLEEP = "exec sleep 600"
CREDENTIALS = "/var/run/serverless-sidecar"
SHARED, OTHER = 64100, 64101
OWN_USER = 62000
needs_separate_users = pytest.mark.skipif(
    separate_users_problem() is not None, reason=f"no separate users: {separate_users_problem()}"
)


@pytest.mark.parametrize(
    ("of_pod", "of_container", "user"),
    [
        ({}, {}, User(OWN_USER, OWN_USER, (), no_new_privileges=False)),
        ({}, {"allowPrivilegeEscalation": False}, User(OWN_USER, OWN_USER)),
        (
            {"fsGroup": 5, "supplementalGroups": [6, 7]},
            {},
            User(OWN_USER, OWN_USER, (6, 7, 5), no_new_privileges=False),
        ),
        ({"runAsUser": 8}, {}, User(8, 8, no_new_privileges=False)),
        ({"runAsUser": 8, "runAsGroup": 9}, {"runAsUser": 10}, User(10, 9, no_new_privileges=False)),
        ({"runAsUser": 0, "runAsNonRoot": True}, {"runAsUser": 8}, User(8, 8, no_new_privileges=False)),
    ],
)
def test_user_of_a_container(of_pod: Object, of_container: Object, user: User) -> None:
    pod = {"spec": {"securityContext": of_pod}}
    assert user_of(pod, {"securityContext": of_container}, lambda: OWN_USER) == user
    assert volume_group(pod) == of_pod.get("fsGroup")
    assert user_of({"spec": {}}, {}, lambda: OWN_USER).uid == OWN_USER


@pytest.mark.parametrize(
    ("of_container", "problem"),
    [
        ({"runAsUser": 0}, "container c: runAsUser 0 is not supported by the local kubelet"),
        (
            {"runAsUser": 0, "runAsNonRoot": True},
            r"container's runAsUser breaks non-root policy \(pod: \"p_n\(u\)\", container: c\)",
        ),
    ],
)
def test_no_container_is_root(of_container: Object, problem: str) -> None:
    pod = {"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {}}
    with pytest.raises(ConfigError, match=problem):
        user_of(pod, {"name": "c", "securityContext": of_container}, lambda: OWN_USER)


def test_which_volumes_hold_files() -> None:
    sources: dict[str, Object] = {
        "plain": {"secret": {"secretName": "a"}},
        "mode": {"secret": {"secretName": "b", "defaultMode": 0o400, "optional": True}},
        "selection": {"configMap": {"name": "d", "items": [{"key": "k", "path": "p"}]}},
        "token": {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"configMap": {"name": "ca"}}]}},
        "empty": {"emptyDir": {}},
    }
    pod = {"spec": {"volumes": [{"name": name, **source} for name, source in sources.items()]}}
    assert file_volumes(pod) == [
        FileVolume("plain", 0o644, (FileSource("Secret", "a"),)),
        FileVolume("mode", 0o400, (FileSource("Secret", "b", optional=True),)),
        FileVolume("selection", 0o644, (FileSource("ConfigMap", "d", (("k", "p"),)),)),
        FileVolume("token", 0o644, (FileSource("ConfigMap", "ca", optional=True),)),
    ]
    assert file_volumes({"spec": {}}) == []


def secret(name: str = "creds", text: str = "hush\n") -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, "stringData": {"nats.creds": text}}


def spec_of(*, group: int = SHARED) -> dict[str, Any]:
    """Volumes and shared group, as a serverless unit's pod has them."""
    return {
        "volumes": [
            {"name": "sockets", "emptyDir": {}},
            {"name": "creds", "secret": {"secretName": "creds", "defaultMode": 0o440}},
        ],
        "securityContext": {"fsGroup": group},
    }


SOCKET_MOUNT = {"name": "sockets", "mountPath": SOCKET_DIR}
SECRET_MOUNT = {"name": "creds", "mountPath": CREDENTIALS, "readOnly": True}
FILE = {"name": "FILE", "value": f"{CREDENTIALS}/nats.creds"}


@pytest.mark.e2e
async def test_a_container_reads_its_secret_where_its_variable_says(bench: Any) -> None:
    """S22; the mount path is not there on this machine, so the variable is translated. Nothing is left of it."""
    await bench.cluster.create(SECRET, secret())
    main = bench.container(f"cat $FILE; echo $FILE; {SLEEP}", env=[FILE], volumeMounts=[SECRET_MOUNT])
    await bench.apply("reader", main, **spec_of(group=os.getegid()))
    await bench.pod("reader", bench.is_ready)
    text, path = (await bench.logged("main", 2)).splitlines()
    assert text == "hush"
    assert stat.S_IMODE(mode_of(path)) == 0o440
    assert await bench.events("FailedMount") == []
    await bench.cluster.delete(DEPLOYMENT, "reader", "default")
    await bench.gone("reader")
    assert not exists(path)


def mode_of(path: str) -> int:
    return Path(path).stat().st_mode


def exists(path: str) -> bool:
    return Path(path).exists()


@pytest.mark.e2e
async def test_a_pod_waits_for_its_secret_and_says_so(bench: Any) -> None:
    await bench.apply("waiter", bench.container(SLEEP, volumeMounts=[SECRET_MOUNT]), **spec_of())
    event = await bench.until_event("FailedMount", "creds")
    assert event["type"] == "Warning"
    assert event["message"] == 'MountVolume.SetUp failed for volume "creds" : secret "creds" not found'
    pod = await bench.pod("waiter", bench.waits_for("ContainerCreating"))
    assert pod["status"]["phase"] == "Pending"
    await bench.cluster.create(SECRET, secret())
    pod = await bench.pod("waiter", bench.is_ready)
    assert bench.state(pod)["restartCount"] == 0


@pytest.mark.e2e
@pytest.mark.parametrize("end", ["deleted", "kubelet stopped"])
async def test_a_pod_that_waits_in_vain_can_end(bench: Any, end: str) -> None:
    await bench.apply("waiter", bench.container(SLEEP, volumeMounts=[SECRET_MOUNT]), **spec_of())
    await bench.until_event("FailedMount", "creds")
    if end == "deleted":
        await bench.cluster.delete(DEPLOYMENT, "waiter", "default")
        await bench.gone("waiter")
    else:
        bench.kubelet_task.cancel()
        await asyncio.wait([bench.kubelet_task])
    assert not list((bench.directory / "pods").glob("*"))


@pytest.mark.e2e
@needs_separate_users
async def test_each_container_runs_under_its_own_user(bench: Any) -> None:
    """S24: the two share a group and nothing else."""
    report = "id -u; id -G; stat -c %a:%u . $HOME"
    peer_context = {"runAsUser": OTHER, "runAsGroup": OTHER}
    peer = bench.container(f"{report}; {SLEEP}", "peer", restartPolicy="Always", securityContext=peer_context)
    await bench.cluster.create(SECRET, secret())
    await bench.apply("users", bench.container(f"{report}; {SLEEP}"), initContainers=[peer], **spec_of())
    await bench.pod("users", bench.is_ready)
    own = int((await bench.logged("main", 4)).split()[0])
    assert own in DEFAULT_USERS
    for name, uid in (("main", own), ("peer", OTHER)):
        assert (await bench.logged(name, 4)).split() == [str(uid), str(uid), str(SHARED), *[f"700:{uid}"] * 2]


LISTEN = f"""
import os, socket, time
os.umask(0o117)
server = socket.socket(socket.AF_UNIX)
server.bind("{SOCKET_DIR}/framework.sock")
server.listen()
found = os.stat("{SOCKET_DIR}/framework.sock")
print(oct(found.st_mode & 0o777), found.st_uid, found.st_gid, flush=True)
time.sleep(600)
"""
CONNECT = f"""
import socket, time
while True:
    try:
        socket.socket(socket.AF_UNIX).connect("{SOCKET_DIR}/framework.sock")
        break
    except (FileNotFoundError, ConnectionRefusedError):
        time.sleep(0.01)
print("connected", flush=True)
time.sleep(600)
"""


@pytest.mark.e2e
@needs_separate_users
async def test_another_user_connects_to_a_socket_of_mode_0660(bench: Any) -> None:
    """S24: what is made in a volume of the pod gets the shared group."""
    await bench.cluster.create(SECRET, secret())
    peer_context = {"runAsUser": OTHER, "runAsGroup": OTHER}
    peer = bench.python(
        CONNECT, "peer", restartPolicy="Always", volumeMounts=[SOCKET_MOUNT], securityContext=peer_context
    )
    main = bench.python(LISTEN, volumeMounts=[SOCKET_MOUNT])
    await bench.apply("sockets", main, initContainers=[peer], **spec_of())
    await bench.pod("sockets", bench.is_ready)
    mode, uid, gid = (await bench.logged("main")).split()
    assert (mode, int(uid) in DEFAULT_USERS, gid) == ("0o660", True, str(SHARED))
    assert await bench.logged("peer") == "connected\n"


@pytest.mark.e2e
@needs_separate_users
async def test_user_code_reads_neither_the_sidecars_secret_nor_its_environment(bench: Any) -> None:
    """C8, S22: not even where it knows the very paths, and though it is in the group that owns the file."""
    await bench.cluster.create(SECRET, secret())
    peer_context = {"runAsUser": OTHER, "runAsGroup": OTHER}
    peer = bench.container(
        f"echo $FILE; cat $FILE; {SLEEP}", "peer", env=[FILE], restartPolicy="Always",
        volumeMounts=[SOCKET_MOUNT, SECRET_MOUNT], securityContext=peer_context,
    )  # fmt: skip
    script = f"until [ -e {SOCKET_DIR}/go ]; do sleep 0.01; done; . {SOCKET_DIR}/go; echo done; {SLEEP}"
    await bench.apply("trust", bench.container(script, volumeMounts=[SOCKET_MOUNT]), initContainers=[peer], **spec_of())
    pod = await bench.pod("trust", bench.is_ready)
    path, text = (await bench.logged("peer", 2)).splitlines()
    assert text == "hush"
    [pid] = [entry.pid for entry in bench.kubelet.containers() if entry.container == "peer"]
    assert psutil.Process(pid).uids().real == OTHER
    volumes = bench.directory / "pods" / pod["metadata"]["uid"] / "volumes"
    spied = [path, f"/proc/{pid}/environ", f"/proc/{pid}/root{path}", f"/proc/{pid}/cwd/.", str(bench.directory)]
    attempts = "\n".join(f"{'ls' if name.endswith(('.', 'run')) else 'cat'} {name} && echo READ" for name in spied)
    (volumes / "sockets/go.new").write_text(f"{attempts}\nls {bench.directory}/pods/*/volumes\n")
    (volumes / "sockets/go.new").rename(volumes / "sockets/go")
    lines = (await bench.logged("main", len(spied) + 3)).splitlines()
    # Of the platform's directory it sees what leads to its own volumes, and not that the Secret's volume exists.
    seen = [line for line in lines if "enied" not in line and "No such" not in line]
    assert [line for line in seen if not line.startswith("kube-api-access-")] == ["pods", "READ", "done"]
    assert sum("enied" in line or "No such" in line for line in lines) == len(spied) - 1


SPY = """
import os, pathlib, signal, sys, time
while not pathlib.Path("victim").exists():
    time.sleep(0.01)
pid, home = pathlib.Path("victim").read_text().split()
def attempt(name, call):
    try:
        call()
    except OSError as error:
        print(name, type(error).__name__, flush=True)
    else:
        print(name, "DONE", flush=True)
attempt("environ", lambda: open(f"/proc/{pid}/environ").read())
attempt("memory", lambda: open(f"/proc/{pid}/mem", "rb"))
attempt("files", lambda: os.listdir(f"/proc/{pid}/fd"))
attempt("root", lambda: os.listdir(f"/proc/{pid}/root/tmp"))
attempt("home", lambda: os.listdir(home))
attempt("kill", lambda: os.kill(int(pid), 0))
time.sleep(600)
"""


@pytest.mark.e2e
@needs_separate_users
async def test_user_code_of_one_pod_gets_nothing_of_another_pods(bench: Any) -> None:
    """Neither names a user; what a pod's own code may do with itself shows that the attempts are good ones."""
    await bench.apply("spies", bench.python(SPY), replicas=2, **spec_of(group=os.getegid()))
    await bench.cluster.create(SECRET, secret())

    async def both_run() -> bool:
        return len([entry for entry in bench.kubelet.containers() if entry.pid]) == 2

    await bench.until(both_run)
    spy, victim = sorted(bench.kubelet.containers(), key=lambda entry: entry.pod)
    home, prey = (log_home(entry.log) for entry in (spy, victim))
    uids = {psutil.Process(entry.pid).uids().real for entry in (spy, victim)}
    assert len(uids) == 2
    assert uids <= set(DEFAULT_USERS)
    for entry, place, other, there in ((spy, home, victim, prey), (victim, prey, victim, prey)):
        (place / "victim.new").write_text(f"{other.pid} {there}")
        (place / "victim.new").rename(place / "victim")

        async def told(log: Path = entry.log) -> bool:
            return lines_of(log) == 6

        await bench.until(told)
    attempts = ("environ", "memory", "files", "root", "home", "kill")
    denied = dict.fromkeys(attempts, "PermissionError") | {"home": "FileNotFoundError"}
    assert dict(line.split() for line in spy.log.read_text().splitlines()) == denied
    assert dict(line.split() for line in victim.log.read_text().splitlines()) == dict.fromkeys(attempts, "DONE")


def lines_of(log: Path) -> int:
    """How many lines a container has written so far."""
    return log.read_text().count("\n") if log.exists() else 0


def log_home(log: Path) -> Path:
    """The home of the container whose log this is."""
    return log.parents[1] / "scratch" / log.stem


@pytest.mark.e2e
@needs_separate_users
async def test_what_left_its_process_group_ends_with_the_pod(bench: Any) -> None:
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    print(os.getpid(), flush=True)\ntime.sleep(600)"
    await bench.apply("escape", bench.python(code))
    await bench.pod("escape", bench.is_ready)
    [escaped] = (await bench.logged("main")).split()
    assert runs(int(escaped))
    await bench.cluster.delete(DEPLOYMENT, "escape", "default")
    await bench.gone("escape")

    async def has_ended() -> bool:
        return not runs(int(escaped))

    await bench.until(has_ended)


def runs(pid: int) -> bool:
    """Whether there is such a process, and it is not one that nobody has asked for yet how it ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.e2e
@needs_separate_users
async def test_a_pod_for_which_no_user_is_left_waits_for_one(start_bench: Any) -> None:
    async with start_bench(users=range(62000, 62001)) as bench:
        await bench.apply("first", bench.container(SLEEP))
        await bench.pod("first", bench.is_ready)
        await bench.apply("second", bench.container(SLEEP))
        pod = await bench.pod("second", bench.waits_for("CreateContainerConfigError"))
        waiting = bench.state(pod)["state"]["waiting"]
        assert waiting["message"] == "the users 62000 to 62000 are all taken; end other pods or platforms"
        await bench.cluster.delete(DEPLOYMENT, "first", "default")
        await bench.pod("second", bench.is_ready)


@pytest.mark.e2e
async def test_without_separate_users_all_containers_are_the_platforms_user(start_bench: Any) -> None:
    async with start_bench(separate_users=False) as bench:
        await bench.cluster.create(SECRET, secret())
        peer_context = {"runAsUser": OTHER}
        main = bench.container(
            f"id -u; cat $FILE; {SLEEP}", env=[FILE], volumeMounts=[SECRET_MOUNT], securityContext=peer_context
        )
        await bench.apply("same", main, **spec_of())
        await bench.pod("same", bench.is_ready)
        assert (await bench.logged("main", 2)).split() == [str(os.geteuid()), "hush"]
