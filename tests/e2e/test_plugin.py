"""The pytest plugin: its fixtures work here, and in a repository that knows nothing but its documentation."""

import os
import re
import sys
from pathlib import Path

import psutil
import pytest

from fixtures.plugin import Worker
from scenarios.local_world import LocalWorld
from sidecar.queue import Queue
from simulator.nats_server import NatsServer
from simulator.platform import Platform

pytestmark = pytest.mark.e2e
pytest_plugins = ["pytester"]

DOC = Path(__file__).parents[2] / "docs" / "pytest.md"


async def test_nats_server_has_jetstream(nats_server: NatsServer) -> None:
    async with Queue.connect(nats_server.url, client_name="test") as queue:
        await queue.ensure_stream()
        stored = await queue.publish(queue.subjects.result("p"), b"{}", message_id="result-1")
    assert (stored.sequence, stored.duplicate) == (1, False)


async def test_platform_is_up(platform: Platform) -> None:
    assert platform.kubeconfig.exists()
    assert platform.queue.connected
    assert platform.units.objects() == []


async def test_worker_is_ready_and_has_two_processes(worker: Worker) -> None:
    assert worker.name == "sd-webui-template"
    assert worker.sidecar_pid
    assert worker.framework_pid
    assert worker.sidecar_pid != worker.framework_pid
    assert psutil.pid_exists(worker.sidecar_pid)
    answer = await worker.pool.call({"n": 1})
    assert answer["body"]["payload"] == {"n": 1}


@pytest.mark.platform(framework_command=("/no/such/program",))
async def test_the_marker_sets_options(world: LocalWorld) -> None:
    with pytest.raises(Exception, match="unit p-template cannot run: PodStartupFailed"):
        await world.ready_pool("p")


def test_the_documented_example_passes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # as in an active environment
    example = re.search(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert example
    pytester.makepyfile(example[1])
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)
