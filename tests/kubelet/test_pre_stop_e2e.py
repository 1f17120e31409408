"""A preStop hook runs before its container is told to end, while the sidecar is there, and never for too long."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from simulator.kube.kinds import DEPLOYMENT, POD, Object
from simulator.kubelet import pod as pod_module

pytestmark = pytest.mark.e2e

# Its answer comes when the file "done" is there, and its status is the request's path.
SIDECAR = """
import http.server, os, pathlib, signal, sys, time
log = open(os.environ["DIR"] + "/log", "a", buffering=1)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("hook called", file=log)
        while not pathlib.Path("done").exists():
            time.sleep(0.01)
        print("hook answers", file=log)
        self.send_response(int(self.path[1:]))
        self.end_headers()
    def log_message(self, *_):
        pass
def end(*_):
    print("sidecar TERM", file=log)
    sys.exit()
signal.signal(signal.SIGTERM, end)
server = http.server.HTTPServer(("127.0.0.1", int(os.environ["HEALTH_PORT"])), Handler)
pathlib.Path(os.environ["DIR"], "up").touch()
server.serve_forever()
"""
MAIN = "trap 'echo main TERM >> $DIR/log; exit 0' TERM; echo up; while :; do sleep 0.05; done"
CRASHING_ONCE = f"[ -e again ] || {{ touch again; exit 1; }}; {MAIN}"
DEAF = "trap '' TERM; echo up; while :; do sleep 0.05; done"
OK, UNAVAILABLE = ({"httpGet": {"path": f"/{status}", "port": 8091}} for status in (200, 503))
REFUSED: Object = {"httpGet": {"path": "/", "port": 8092}}
SHARED: dict[str, Any] = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}


@dataclass(frozen=True)
class Ending:
    """A pod whose end is watched. `log` can be read after its removal; `main` is the pid of the main container."""

    bench: Any
    pod: Object
    directory: Path
    log: int
    main: int

    def lines(self) -> list[str]:
        """What the containers wrote into their shared log."""
        return os.pread(self.log, 4096, 0).decode().splitlines()

    async def wrote(self, line: str) -> None:
        """Wait for a line of the shared log."""

        async def found() -> bool:
            return line in self.lines()

        await self.bench.until(found)

    def let_the_hook_answer(self) -> None:
        """Let the sidecar answer from now on."""
        (self.directory / "scratch/side/done").touch()

    async def delete(self) -> None:
        """Delete the Deployment, and with it the pod."""
        await self.bench.cluster.delete(DEPLOYMENT, "app", "default")


Launch = Callable[..., Awaitable[Ending]]


@pytest.fixture
def launch(bench: Any, request: pytest.FixtureRequest) -> Launch:
    """Start a pod with a hook that its sidecar may answer."""

    async def start(hook: Object, script: str = MAIN, **extra: Any) -> Ending:
        up = {"startupProbe": {"exec": {"command": ["sh", "-c", "test -e $DIR/up"]}, "periodSeconds": 1}}
        env = {"DIR": "/shared", "HEALTH_PORT": "8091"}
        directory = [{"name": "DIR", "value": "/shared"}]
        main = bench.container(script, env=directory, lifecycle={"preStop": hook}, **SHARED)
        await bench.apply(
            "app",
            main,
            initContainers=[bench.python(SIDECAR, "side", env, restartPolicy="Always", **up, **SHARED)],
            volumes=[{"name": "shared", "emptyDir": {}}],
            securityContext={"fsGroup": os.getegid()},
            **extra,
        )
        pod = await bench.pod("app", bench.is_ready)
        await bench.logged("main")
        home = bench.directory / "pods" / pod["metadata"]["uid"]
        log = os.open(home / "volumes/shared/log", os.O_RDONLY)
        request.addfinalizer(lambda: os.close(log))
        (pid,) = [entry.pid for entry in bench.kubelet.containers() if entry.container == "main"]
        return Ending(bench, pod, home, log, pid)

    return start


async def test_the_hook_ends_before_sigterm_and_the_sidecar_after_both(bench: Any, launch: Launch) -> None:
    """S14: while the hook drains the sidecar, both containers run on."""
    ending = await launch(OK)
    await ending.delete()
    await ending.wrote("hook called")
    killing = await bench.until_event("Killing", "Stopping container main")
    assert killing["involvedObject"]["fieldPath"] == "spec.containers{main}"
    assert psutil.pid_exists(ending.main)
    assert ending.lines() == ["hook called"]
    ending.let_the_hook_answer()
    await bench.gone("app")
    assert ending.lines() == ["hook called", "hook answers", "main TERM", "sidecar TERM"]
    assert bench.seen[-1]["status"]["phase"] == "Succeeded"
    assert await bench.events("FailedPreStopHook") == []


async def test_a_command_is_run_as_its_container_is(bench: Any, launch: Launch) -> None:
    ending = await launch({"exec": {"command": ["sh", "-c", "echo hook in $(basename $PWD) >> $DIR/log"]}})
    await ending.delete()
    await bench.gone("app")
    assert ending.lines() == ["hook in main", "main TERM", "sidecar TERM"]
    assert await bench.events("FailedPreStopHook") == []


@pytest.mark.parametrize("hook", [{"sleep": {"seconds": 1}}, UNAVAILABLE], ids=["sleep", "status"])
async def test_hooks_that_cannot_fail(bench: Any, launch: Launch, hook: Object) -> None:
    """Whatever a server answers, it has been told."""
    ending = await launch(hook)
    ending.let_the_hook_answer()
    await ending.delete()
    await bench.gone("app")
    assert ending.lines()[-2:] == ["main TERM", "sidecar TERM"]
    assert await bench.events("FailedPreStopHook") == []


@pytest.mark.parametrize(
    "hook",
    [REFUSED, {"exec": {"command": ["false"]}}],
    ids=["refused", "exit code"],
)
async def test_a_hook_that_fails_is_told_and_the_end_goes_on(bench: Any, launch: Launch, hook: Object) -> None:
    ending = await launch(hook)
    await ending.delete()
    await bench.gone("app")
    assert ending.lines() == ["main TERM", "sidecar TERM"]
    failed = await bench.until_event("FailedPreStopHook", "")
    assert (failed["type"], failed["message"], failed["count"]) == ("Warning", "PreStopHook failed", 1)
    assert failed["involvedObject"]["fieldPath"] == "spec.containers{main}"


@pytest.mark.parametrize(
    ("script", "exit_code", "lines"), [(MAIN, 0, ["main TERM"]), (DEAF, 137, [])], ids=["obedient", "deaf"]
)
async def test_a_hook_that_hangs_ends_with_the_grace_period(
    bench: Any, launch: Launch, script: str, exit_code: int, lines: list[str]
) -> None:
    """The container is still asked to end before it is killed."""
    ending = await launch(OK, script, terminationGracePeriodSeconds=1)
    await ending.delete()
    await bench.gone("app")
    assert ending.lines() == ["hook called", *lines, "sidecar TERM"]
    assert bench.state(bench.seen[-1])["state"]["terminated"]["exitCode"] == exit_code
    await bench.until_event("FailedPreStopHook", "PreStopHook failed")


async def test_a_forced_delete_cuts_the_hook(bench: Any, launch: Launch) -> None:
    ending = await launch(OK, terminationGracePeriodSeconds=600)
    await ending.delete()
    await ending.wrote("hook called")
    await bench.cluster.delete(POD, ending.pod["metadata"]["name"], "default", grace_period_s=0)

    async def nothing_is_left() -> bool:
        return not bench.kubelet.containers()

    await bench.until(nothing_is_left)
    assert not psutil.pid_exists(ending.main)
    assert ending.lines() == ["hook called"]
    assert await bench.events("FailedPreStopHook") == []


async def test_a_forced_delete_leaves_the_hook_a_second(bench: Any, launch: Launch) -> None:
    """The pod is gone from the API at once; what ran of it still ends in order."""
    ending = await launch(OK)
    ending.let_the_hook_answer()
    await bench.cluster.delete(POD, ending.pod["metadata"]["name"], "default", grace_period_s=0)
    await ending.wrote("sidecar TERM")
    assert ending.lines() == ["hook called", "hook answers", "main TERM", "sidecar TERM"]


async def test_the_end_of_the_platform_waits_for_a_hook_but_not_for_long(
    bench: Any, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_module, "SHUTDOWN_GRACE_S", 0.5)
    ending = await launch(OK, terminationGracePeriodSeconds=600)
    bench.kubelet_task.cancel()
    await asyncio.wait([bench.kubelet_task])
    assert bench.kubelet_task.cancelled()
    assert ending.lines() == ["hook called", "main TERM", "sidecar TERM"]
    assert not psutil.pid_exists(ending.main)


async def test_what_failed_a_probe_runs_its_hook_before_it_ends(bench: Any) -> None:
    """It has the grace period of the probe, in which it is asked to end, and is started again."""
    script = "[ -e again ] || trap 'echo TERM >> log' TERM; echo up; touch up; while :; do sleep 0.05; done"
    failing = {"exec": {"command": ["test", "-e", "again"]}, "periodSeconds": 1, "terminationGracePeriodSeconds": 1}
    hook = {"exec": {"command": ["sh", "-c", "until [ -e up ]; do sleep 0.01; done; echo hook >> log; touch again"]}}
    await bench.apply("app", bench.container(script, livenessProbe=failing, lifecycle={"preStop": hook}))
    pod = await bench.pod("app", lambda pod: bench.state(pod)["restartCount"] == 1 and bench.is_ready(pod))
    ended = bench.state(pod)["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("Error", 137)
    log = bench.directory / "pods" / pod["metadata"]["uid"] / "scratch/main/log"
    assert log.read_text().splitlines() == ["hook", "TERM"]
    assert await bench.events("FailedPreStopHook") == []


async def test_what_ends_by_itself_has_no_hook(bench: Any, launch: Launch) -> None:
    ending = await launch(OK, CRASHING_ONCE)
    pod = await bench.pod("app", lambda pod: bench.state(pod)["restartCount"] == 1 and bench.is_ready(pod))
    assert pod["metadata"]["uid"] == ending.pod["metadata"]["uid"]
    assert ending.lines() == []
    ending.let_the_hook_answer()
