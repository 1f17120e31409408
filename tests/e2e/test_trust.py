"""The trust split on a running worker: the sidecar knows NATS, the framework beside it does not."""

import psutil
import pytest

from fixtures.plugin import Worker
from scenarios.world import World

pytestmark = pytest.mark.e2e


async def test_the_framework_is_told_nothing_of_nats(worker: Worker, world: World) -> None:
    await worker.pool.call({"n": 1})
    sidecar, framework = psutil.Process(worker.sidecar_pid), psutil.Process(worker.framework_pid)
    port = int(world.platform.nats_url.rpartition(":")[2])

    told = {**framework.environ(), "command line": " ".join(framework.cmdline()), "directory": framework.cwd()}
    assert [name for name, value in told.items() if "nats" in f"{name}={value}".lower() or str(port) in value] == []
    assert [connection.raddr for connection in framework.net_connections("inet")] == []
    # The same look finds it where it belongs.
    assert str(port) in sidecar.environ()["SERVERLESS_NATS_URL"]
    remote_ports = {getattr(connection.raddr, "port", None) for connection in sidecar.net_connections("inet")}
    assert port in remote_ports


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
