"""Every command of docs/kind.md is run here, in order, with faked programs and the embedded API for the cluster."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from simulator.install.images import ROOT
from simulator.kube.client import Cluster
from tests.cli.fake_tools import FakeTools, working_tools
from tests.install.embedded import applies_definitions, embedded_cluster, everything_runs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

CONTEXT = "kind-gpuunit-sim"
PAGE = ROOT / "docs" / "kind.md"
BLOCK = re.compile(r"^```sh kind\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    (tmp_path / "bin").mkdir()
    return working_tools(tmp_path / "bin")


@pytest.fixture
def env(tools: FakeTools, tmp_path: Path) -> dict[str, str]:
    for name in ("unitsim", "bash"):
        place = Path(sys.executable).parent / name if name == "unitsim" else Path("/bin/bash")
        (tools.directory / name).symlink_to(place)
    return os.environ | {"PATH": str(tools.directory), "HOME": str(tmp_path)}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """The embedded API under the name that kind would give its cluster; what is applied runs at once."""
    path = tmp_path / ".kube" / "config"
    path.parent.mkdir()
    async with embedded_cluster(path) as cluster:
        content = msgspec.yaml.decode(path.read_bytes())
        content["contexts"][0]["name"] = content["current-context"] = CONTEXT
        path.write_bytes(msgspec.yaml.encode(content))
        async with everything_runs(cluster):
            yield cluster


@applies_definitions
async def test_the_commands_of_the_page(
    cluster: Cluster, tools: FakeTools, env: dict[str, str], tmp_path: Path
) -> None:
    shown: dict[str, str] = {}
    for command in commands():
        if command.startswith(("unitsim kind load", "unitsim kind down")):
            tools.add("kind", get_clusters="gpuunit-sim\n")
        process = await asyncio.create_subprocess_exec(
            "/bin/bash", "-euc", command, env=env, cwd=tmp_path, stdout=PIPE, stderr=PIPE
        )
        async with asyncio.timeout(60):
            output, complaints = await process.communicate()
        assert process.returncode == 0, f"{command}\n{output.decode()}{complaints.decode()}"
        shown[command] = output.decode()
    assert [line for line in shown if line.startswith("unitsim kube install")]
    assert "the platform runs in https://127.0.0.1" in "".join(shown.values())
    assert "nothing of the platform is left" in "".join(shown.values())
    assert [call.split()[:3] for call in tools.calls()] == [
        ["kind", "get", "clusters"],
        ["kind", "create", "cluster"],
        *[["docker", "build", "--tag"]] * 3,
        ["kind", "get", "clusters"],
        ["kind", "load", "docker-image"],
        *[["docker", "build", "--build-arg"]] * 3,
        ["kind", "get", "clusters"],
        ["kind", "delete", "cluster"],
    ]
    assert (tmp_path / "platform.yaml").read_text().count("kind: Deployment") == 5


def test_there_are_commands_for_each_task() -> None:
    for command in ("doctor", "kind up", "kind build", "kind load", "kube install", "kube manifests", "kube uninstall"):
        assert any(line.startswith(f"unitsim {command}") for line in commands()), command
