"""`nox -s kind`: whatever fails on its way, the cluster that it made goes, and one that it did not make stays."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest

from simulator.install.images import ROOT
from tests.cli.fake_tools import Answer, FakeTools, environment, working_tools

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

KIND = """#!/bin/sh
echo "$@" >> {calls}
case "$1 $2" in
  "version ") echo "kind v0.31.0 go1.25.5 linux/amd64" ;;
  "get clusters") cat {clusters} ;;
  "create cluster") echo gpuunit-sim-nox > {clusters} ;;
  "delete cluster") : > {clusters} ;;
esac
"""
"""A kind that remembers its clusters."""


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    """A machine on which all is well but that no image can be built."""
    (tmp_path / "bin").mkdir()
    tools = working_tools(tmp_path / "bin")
    tools.add("docker", build=Answer(err="no space left on device", code=1))
    (tmp_path / "clusters").touch()
    kind = tools.directory / "kind"
    kind.write_text(KIND.format(calls=tmp_path / "calls", clusters=tmp_path / "clusters"))
    for name in ("unitsim", "sh", "cat"):
        (tools.directory / name).symlink_to(shutil.which(name, path=f"{Path(sys.executable).parent}:/bin:/usr/bin"))  # type: ignore[arg-type]  # they are there
    return tools


def run_session(tools: FakeTools, tmp_path: Path) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run it; how it ended, and what kind was told to change."""
    if _taken(8080) or _taken(4222):
        pytest.skip("somebody uses the ports 8080 and 4222 of this machine, which the session needs")
    command = [sys.executable, "-m", "nox", "--no-venv", "-f", str(ROOT / "noxfile.py"), "-s", "kind"]
    ended = subprocess.run(
        command, env=environment(tools), cwd=tmp_path, stdout=PIPE, stderr=STDOUT, text=True, check=False
    )
    told = (tmp_path / "calls").read_text().splitlines()
    return ended, [" ".join(call.split()[:4]) for call in told if call.startswith(("create", "delete"))]


def test_the_cluster_goes_when_something_fails(tools: FakeTools, tmp_path: Path) -> None:
    ended, changes = run_session(tools, tmp_path)
    assert ended.returncode == 1
    assert "no space left on device" in ended.stdout
    assert "nox > unitsim kube install" not in ended.stdout
    assert changes == ["create cluster --name gpuunit-sim-nox", "delete cluster --name gpuunit-sim-nox"]
    assert (tmp_path / "clusters").read_text() == ""


def test_a_cluster_that_was_there_stays(tools: FakeTools, tmp_path: Path) -> None:
    (tmp_path / "clusters").write_text("gpuunit-sim-nox\n")
    ended, changes = run_session(tools, tmp_path)
    assert ended.returncode == 1
    assert "unitsim kind down --name gpuunit-sim-nox" in ended.stdout
    assert changes == []
