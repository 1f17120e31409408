"""The locust file against a platform: every call succeeds, and each async one is followed to its one result."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from scenarios.load.callers import LOCUST_FILE, Run, run_callers
from scenarios.load.cpu import cpu_seconds
from scenarios.load.floor import WARM_UP, floor_seconds
from scenarios.load.probes import kill_worker
from scenarios.load.samples import Mode, Samples
from scenarios.local_world import LocalWorld
from sidecar.messages import InvocationMessage, InvocationResultMessage, State
from simulator.journal import Journal
from simulator.processes.spawn import Processes

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CALLERS = 4
SECONDS = 2
ROOT = Path(__file__).parents[2]


async def load(world: LocalWorld, processes: Processes, mode: Mode, directory: Path) -> Samples:
    run = Run(world.platform.api_url, "p", mode, CALLERS, SECONDS)
    return await run_callers(processes, run, directory)


def ended(journal: Journal, calls: int) -> list[InvocationResultMessage] | None:
    results = journal.of_type(InvocationResultMessage)
    return results if len(results) >= calls else None


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_every_call_of_a_run_succeeds_and_has_one_result(
    world: LocalWorld, processes: Processes, tmp_path: Path, mode: Mode
) -> None:
    await world.ready_pool("p")
    found = await load(world, processes, mode, tmp_path)
    assert all(sample.succeeded for sample in found.samples)
    counts = Counter(sample.name for sample in found.samples)
    if mode == "sync":
        assert set(counts) == {"sync"}
        calls = counts["sync"]
    else:
        assert set(counts) == {"async submit", "async wait", "async result"}
        calls = counts["async result"]
        assert counts["async submit"] == calls
        assert counts["async wait"] >= calls
    assert calls >= CALLERS
    assert found.cpu_seconds > 0
    results = await world.journal.wait_for(lambda journal: ended(journal, calls), 20, f"{calls} results")
    asked = [message.invocation_id for message in world.journal.of_type(InvocationMessage)]
    assert sorted(result.invocation_id for result in results) == sorted(asked)
    assert len(asked) == calls
    assert {result.state for result in results} == {State.SUCCEEDED}


async def test_a_call_that_fails_is_a_failed_request(world: LocalWorld, processes: Processes, tmp_path: Path) -> None:
    """Nobody serves the pool: each of both modes' calls ends with a failed result, or is not taken."""
    for mode in ("sync", "async"):
        found = await load(world, processes, mode, tmp_path)
        assert found.samples
        assert not any(sample.succeeded for sample in found.samples if sample.name in ("sync", "async result"))


async def test_the_floor_is_measured_and_cpu_is_told_apart(world: LocalWorld, processes: Processes) -> None:
    await world.ready_pool("p")
    seconds = await floor_seconds(world.platform, processes, 20)
    assert len(seconds) == 20 < WARM_UP
    assert all(each > 0 for each in seconds)
    assert set(cpu_seconds()) >= {"platform", "nats", "sidecar", "framework"}


async def test_a_worker_is_killed_with_all_its_processes(world: LocalWorld) -> None:
    await world.ready_pool("p")
    before = {container.container: container.pid for container in world.platform.kubelet.containers()}
    assert len(before) == 2
    kill_worker(world.platform, "p-template")
    answer = await world.pool("p").call({"n": 1})
    assert answer["statusCode"] == 200
    after = {container.container: container.pid for container in world.platform.kubelet.containers()}
    assert not set(before.values()) & set(after.values())


def test_a_quick_run_measures_everything() -> None:
    command = [sys.executable, "-m", "scenarios.load", "--quick", "--modes", "async", "--callers", "2", "--json"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert found.returncode == 0, found.stderr
    report = json.loads(found.stdout)
    [cell] = report["cells"]
    assert (cell["mode"], cell["workers"], cell["callers"], cell["measured"]["failures"]) == ("async", 1, 2, 0)
    assert cell["measured"]["invocations"] >= 2
    assert set(cell["cpu_us"]) == {"platform", "nats", "sidecar", "framework"}
    assert [len(report[name]) for name in ("cold_start_s", "loss_s")] == [1, 1]
    assert report["losses_done_by_another"] == 1


def test_the_web_ui_listens_on_this_machine_only() -> None:
    code = (
        "import runpy, locust.argument_parser as parser\n"
        f"runpy.run_path({str(LOCUST_FILE)!r})\n"
        "print(parser.get_parser().parse_args([]).web_host)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.strip() == "127.0.0.1"
