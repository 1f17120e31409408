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
from simulator.kubelet.security import IMAGE_USER, user_of, volume_group
from simulator.kubelet.volumes import FileSource, FileVolume, file_volumes
from simulator.processes.availability import separate_users_problem
from simulator.processes.users import User

SLEEP = "exec sleep 600"
CREDENTIALS = "/var/run/serverless-sidecar"
SHARED, OTHER = 64100, 64101
needs_separate_users = pytest.mark.skipif(
    separate_users_problem() is not None, reason=f"no separate users: {separate_users_problem()}"
)


@pytest.mark.parametrize(
    ("of_pod", "of_container", "user"),
    [
        ({}, {}, User(IMAGE_USER, IMAGE_USER, (), no_new_privileges=False)),
        ({}, {"allowPrivilegeEscalation": False}, User(IMAGE_USER, IMAGE_USER)),
        (
            {"fsGroup": 5, "supplementalGroups": [6, 7]},
            {},
            User(IMAGE_USER, IMAGE_USER, (6, 7, 5), no_new_privileges=False),
        ),
        ({"runAsUser": 8}, {}, User(8, 8, no_new_privileges=False)),
        ({"runAsUser": 8, "runAsGroup": 9}, {"runAsUser": 10}, User(10, 9, no_new_privileges=False)),
        ({}, {"runAsUser": 0, "allowPrivilegeEscalation": True}, User(0, 0, no_new_privileges=False)),
    ],
)
def test_user_of_a_container(of_pod: Object, of_container: Object, user: User) -> None:
    pod = {"spec": {"securityContext": of_pod}}
    assert user_of(pod, {"securityContext": of_container}) == user
    assert volume_group(pod) == of_pod.get("fsGroup")
    assert user_of({"spec": {}}, {}).uid == IMAGE_USER


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
    for name, uid in (("main", IMAGE_USER), ("peer", OTHER)):
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
    assert await bench.logged("main") == f"0o660 {IMAGE_USER} {SHARED}\n"
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
