"""What goes wrong in a container is told as a real cluster tells it."""

import os
import signal
from typing import Any

import psutil
import pytest

from framework.contract import SOCKET_DIR
from simulator.gpuunit import RUNTIME_CONTAINER, SIDECAR_CONTAINER
from simulator.kube.kinds import DEPLOYMENT, POD
from simulator.kubelet.images import ImageTable

pytestmark = pytest.mark.e2e

SLEEP = "exec sleep 600"
MOUNT: dict[str, Any] = {"volumeMounts": [{"name": "sockets", "mountPath": SOCKET_DIR}]}


async def test_crash_loop(bench: Any) -> None:
    await bench.apply("crash", bench.container("echo run; exit 3"))
    pod = await bench.pod(
        "crash", lambda pod: bench.state(pod)["restartCount"] == 2 and bench.waits_for("CrashLoopBackOff")(pod)
    )
    status, name, uid = bench.state(pod), pod["metadata"]["name"], pod["metadata"]["uid"]
    message = f"back-off 20s restarting failed container=main pod={name}_default({uid})"
    assert status["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    ended = status["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (3, "Error")
    assert not status["ready"]
    assert pod["status"]["phase"] == "Running"
    assert bench.condition(pod, "Initialized") == "True"
    assert bench.condition(pod, "Ready") == "False"
    restarts = [bench.state(seen)["restartCount"] for seen in bench.seen]
    assert restarts == sorted(restarts)
    assert bench.log("main").read_text() == "run\n"
    assert bench.log("main").with_suffix(".previous.log").read_text() == "run\n"
    deployment = await bench.cluster.get(DEPLOYMENT, "crash", "default")
    assert "availableReplicas" not in deployment["status"]

    async def starts_are_counted() -> bool:
        return [event["count"] for event in await bench.events("Started")] == [3]

    await bench.until(starts_are_counted)
    back_off = await bench.until_event("BackOff", "failed container main")
    assert back_off["type"] == "Warning"
    assert back_off["message"] == f"Back-off restarting failed container main in pod {name}_default({uid})"


async def test_exit_0_is_restarted_too(bench: Any) -> None:
    await bench.apply("once", bench.container("exit 0"))
    pod = await bench.pod("once", lambda pod: bench.state(pod)["restartCount"] >= 1 and bench.state(pod)["lastState"])
    ended = bench.state(pod)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
    assert pod["status"]["phase"] == "Running"


async def test_program_that_does_not_exist(bench: Any) -> None:
    await bench.apply("absent", {"name": "main", "image": "busybox:1", "command": ["/does-not-exist"]})
    pod = await bench.pod("absent", lambda pod: bench.state(pod)["restartCount"] >= 1)
    ended = bench.state(pod)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert ended["startedAt"] == "1970-01-01T00:00:00Z"
    problem = 'exec: "/does-not-exist": stat /does-not-exist: no such file or directory: unknown'
    assert ended["message"].endswith(f"unable to start container process: {problem}")
    assert any(bench.waits_for("RunContainerError")(seen) for seen in bench.seen)
    assert pod["status"]["phase"] == "Running"
    failed = await bench.until_event("Failed", problem)
    assert failed["type"] == "Warning"


async def test_unknown_image(bench: Any) -> None:
    await bench.apply("odd", {"name": "main", "image": "example.org/odd:1"})
    pod = await bench.pod("odd", bench.waits_for("ImagePullBackOff"))
    message = bench.state(pod)["state"]["waiting"]["message"]
    assert message.startswith('Back-off pulling image "example.org/odd:1": ErrImagePull: ')
    assert message.endswith(": example.org/odd:1: not found")
    hint = await bench.until_event("ImageUnknown", "--image example.org/odd:1=COMMAND")
    assert hint["involvedObject"]["fieldPath"] == "spec.containers{main}"
    assert any(bench.waits_for("ErrImagePull")(seen) for seen in bench.seen)
    assert pod["status"]["phase"] == "Pending"
    assert bench.state(pod)["restartCount"] == 0
    await bench.cluster.delete(DEPLOYMENT, "odd", "default")
    await bench.gone("odd")


async def test_unsupported_volume(bench: Any) -> None:
    volumes = [{"name": "sockets", "hostPath": {"path": "/"}}]
    await bench.apply("volume", bench.container(SLEEP, **MOUNT), volumes=volumes)
    pod = await bench.pod("volume", bench.waits_for("CreateContainerConfigError"))
    assert 'volume "sockets" (hostPath) is not supported' in bench.state(pod)["state"]["waiting"]["message"]
    assert pod["status"]["phase"] == "Pending"
    await bench.cluster.delete(DEPLOYMENT, "volume", "default")
    await bench.gone("volume")


async def test_substituted_image_is_told(start_bench: Any) -> None:
    table = ImageTable(sidecar_command=["sh", "-c", SLEEP])
    async with start_bench(table) as bench:
        sidecar = {"name": SIDECAR_CONTAINER, "image": "any:1", "restartPolicy": "Always"}
        runtime = {"name": RUNTIME_CONTAINER, "image": "example.org/model:1"}
        await bench.apply("model", runtime, initContainers=[sidecar])
        pod = await bench.pod("model", lambda pod: pod.get("status", {}).get("reason") == "ImageSubstituted")
        assert '"example.org/model:1" cannot run here: the echo framework' in pod["status"]["message"]
        event = await bench.until_event("ImageSubstituted", "example.org/model:1")
        assert event["type"] == "Warning"
        assert event["involvedObject"]["fieldPath"] == "spec.containers{runtime-worker}"


async def test_liveness_failure_restarts(bench: Any) -> None:
    probe = {"exec": {"command": ["test", "-e", "alive"]}, "periodSeconds": 1, "failureThreshold": 2}
    await bench.apply("live", bench.container(f"touch alive; {SLEEP}", livenessProbe=probe))
    pod = await bench.pod("live", bench.is_ready)
    (bench.directory / "pods" / pod["metadata"]["uid"] / "scratch/main/alive").unlink()
    pod = await bench.pod("live", lambda pod: bench.state(pod)["restartCount"] == 1 and bench.is_ready(pod))
    assert bench.state(pod)["lastState"]["terminated"]["exitCode"] == 128 + signal.SIGTERM
    killing = await bench.until_event("Killing", "main")
    assert killing["message"] == "Container main failed liveness probe, will be restarted"


async def test_killed_sidecar_is_restarted_and_the_rest_runs_on(bench: Any) -> None:
    await bench.apply(
        "pair", bench.container(SLEEP), initContainers=[bench.container(SLEEP, "side", restartPolicy="Always")]
    )
    await bench.pod("pair", bench.is_ready)
    before = {entry.container: entry.pid for entry in bench.kubelet.containers()}
    os.kill(before["side"], signal.SIGKILL)
    pod = await bench.pod(
        "pair", lambda pod: bench.state(pod, group="initContainerStatuses")["restartCount"] == 1 and bench.is_ready(pod)
    )
    assert bench.state(pod, group="initContainerStatuses")["lastState"]["terminated"]["exitCode"] == 137
    after = {entry.container: entry.pid for entry in bench.kubelet.containers()}
    assert after["main"] == before["main"]
    assert after["side"] not in (None, before["side"])
    assert bench.condition(pod, "Initialized") == "True"


async def test_delete_of_a_container_that_ignores_term(bench: Any) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    await bench.apply("deaf", bench.container(script), terminationGracePeriodSeconds=1)
    await bench.pod("deaf", bench.is_ready)
    await bench.logged("main")
    (pid,) = [entry.pid for entry in bench.kubelet.containers()]
    await bench.cluster.delete(DEPLOYMENT, "deaf", "default")
    await bench.gone("deaf")
    assert not psutil.pid_exists(pid)
    last = bench.seen[-1]
    assert last["status"]["phase"] == "Failed"
    assert bench.state(last)["state"]["terminated"]["exitCode"] == 137


async def test_forced_delete_makes_room_at_once_and_kills_soon(bench: Any) -> None:
    await bench.apply(
        "forced",
        bench.container("trap '' TERM; echo ready; while :; do sleep 0.1; done"),
        terminationGracePeriodSeconds=1,
    )
    pod = await bench.pod("forced", bench.is_ready)
    await bench.logged("main")
    (pid,) = [entry.pid for entry in bench.kubelet.containers()]
    await bench.cluster.delete(POD, pod["metadata"]["name"], "default", grace_period_s=0)
    await bench.pod("forced", lambda new: new["metadata"]["uid"] != pod["metadata"]["uid"] and bench.is_ready(new))

    async def dead() -> bool:
        return not psutil.pid_exists(pid)

    await bench.until(dead)
