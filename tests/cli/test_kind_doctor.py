"""`unitsim doctor`: each finding with what to do, and an exit code for the target that was asked for."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.cli import run
from simulator.install.doctor import PORTS
from simulator.install.tools import read_version
from tests.cli.fake_tools import Answer, FakeTools, working_tools


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr("simulator.install.doctor.PORTS", {free.getsockname()[1]: PORTS[8080]})
    return working_tools(tmp_path / "bin")


@pytest.fixture
def taken_port(tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        port = holder.getsockname()[1]
        monkeypatch.setattr("simulator.install.doctor.PORTS", {port: "the runtime API"})
        yield port


def told(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    document = json.loads(capsys.readouterr().out)
    return document, {finding["name"]: finding for finding in document["findings"]}


@pytest.mark.parametrize("target", ["local", "kind"])
def test_all_is_there(target: str, tools: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--target", target, "--json"]) == 0
    document, findings = told(capsys)
    assert (document["target"], document["ready"]) == (target, True)
    assert [findings[name]["found"] for name in ("kubectl", "kind", "container engine")] == [
        "1.36.0",
        "0.31.0",
        "docker 28.2.2",
    ]
    assert {"python", "nats-server", "mount namespaces", "separate users"} <= findings.keys()
    assert not [finding for finding in findings.values() if finding["ok"] and finding["fix"]]
    assert tools.calls() == []


@pytest.mark.parametrize(
    ("name", "change", "finding", "found", "fix"),
    [
        ("kind", None, "kind", "none", "https://kind.sigs.k8s.io"),
        ("kind", {"version": "kind v0.20.0"}, "kind", "0.20.0", "https://kind.sigs.k8s.io"),
        ("kubectl", None, "kubectl", "none", "https://kubernetes.io/docs/tasks/tools"),
        ("kubectl", {"version": "Client Version: v1.28.4"}, "kubectl", "1.28.4", "https://kubernetes.io"),
        ("docker", None, "container engine", "none", "https://docs.docker.com"),
        ("docker", {"--version": "Docker version 19.3"}, "container engine", "docker 19.3", "https://docs.docker"),
        (
            "docker",
            {"info": Answer(err="no daemon\n", code=1)},
            "container engine",
            "docker 28.2.2: no daemon",
            "start",
        ),
    ],
)
def test_what_a_kind_cluster_lacks(
    name: str,
    change: dict[str, str | Answer] | None,
    finding: str,
    found: str,
    fix: str,
    tools: FakeTools,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if change is None:
        tools.remove(name)
    else:
        tools.add(name, **change)
    assert run(["doctor", "--target", "kind", "--json"]) == 4
    document, findings = told(capsys)
    assert document["ready"] is False
    assert [each["name"] for each in document["findings"] if not each["ok"] and "kind" in each["neededFor"]] == [
        finding
    ]
    assert findings[finding]["found"] == found
    assert fix in findings[finding]["fix"]
    assert run(["doctor", "--target", "local", "--json"]) == 0


def test_podman_is_an_engine_too(tools: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    tools.add("docker", info=Answer(err="no daemon\n", code=1))
    tools.add("podman", **{"--version": "podman version 5.4.2\n"})
    assert run(["doctor", "--target", "kind", "--json"]) == 0
    _, findings = told(capsys)
    assert findings["container engine"]["found"] == "podman 5.4.2"


def test_a_taken_port(taken_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--target", "kind", "--json"]) == 4
    _, findings = told(capsys)
    assert findings[f"port {taken_port}"]["found"] == "taken"
    assert f"port {taken_port} is taken by" in findings[f"port {taken_port}"]["fix"]


def test_without_nats_server_nothing_runs_here(
    tools: FakeTools, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNITSIM_NATS_SERVER", "/none/nats-server")
    assert run(["doctor"]) == 4
    shown = capsys.readouterr().out
    assert "MISSING  nats-server" in shown
    assert "UNITSIM_NATS_SERVER=/none/nats-server" in shown
    assert "not ready for local: nats-server" in shown


def test_people_see_the_fix_below_each_finding(tools: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    tools.remove("kind")
    assert run(["doctor", "--target", "kind"]) == 4
    lines = capsys.readouterr().out.splitlines()
    [place] = [number for number, line in enumerate(lines) if line.split()[:2] == ["MISSING", "kind"]]
    assert lines[place + 1].strip() == "needed: 0.24 or newer"
    assert lines[place + 2].strip().startswith("fix: install it from https://kind.sigs.k8s.io")
    assert lines[-1] == "not ready for kind: kind"
    assert run(["doctor"]) == 0


def test_an_unknown_target(tools: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--target", "moon"]) == 2
    assert "moon" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("kind v0.31.0 go1.25.5 linux/amd64", (0, 31, 0)),
        ("kind v0.32.0-alpha go1.25.5", (0, 32, 0)),
        ("Docker version 20.10.24+dfsg1, build 297e128", (20, 10, 24)),
        ("podman version 4.4", (4, 4)),
        ("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0", (1, 32, 4)),
        ("", None),
        ("unknown", None),
    ],
)
def test_read_version(answer: str, version: tuple[int, ...] | None) -> None:
    assert read_version(answer) == version
