"""`unitsim kind`: which programs it calls and how, and what a person sees when something is missing or wrong."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from simulator.cli import run
from simulator.install.images import ROOT
from tests.cli.fake_tools import Answer, FakeTools, working_tools

CONFIG = ROOT / "fixtures" / "kind" / "cluster.yaml"
CREATE = f"kind create cluster --name gpuunit-sim --config {CONFIG} --wait 180s"
CLUSTERS = "kind get clusters"
IMAGES = [f"localhost/gpuunit-sim/{name}:dev" for name in ("platform", "sidecar", "echo")]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return working_tools(tmp_path / "bin")


@pytest.fixture
def free_config(tmp_path: Path) -> Path:
    """A configuration that takes no port."""
    path = tmp_path / "cluster.yaml"
    path.write_text("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n")
    return path


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        yield holder.getsockname()[1]


def test_nodes_start_whatever_version_of_cgroups_the_machine_has() -> None:
    """A kubelet from 1.35 on refuses version 1 unless it is told not to."""
    [patch] = msgspec.yaml.decode(CONFIG.read_bytes())["kubeadmConfigPatches"]
    assert msgspec.yaml.decode(patch) == {"kind": "KubeletConfiguration", "failCgroupV1": False}


def test_up_makes_the_cluster_and_waits_for_its_control_plane(
    tools: FakeTools, free_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", str(free_config), "--node-image", "kindest/node:v1.36.0", "--kubeconfig", "/k/c"]
    assert run(["kind", "up", "--name", "mine", *arguments, "--json"]) == 0
    assert tools.calls() == [
        CLUSTERS,
        f"kind create cluster --name mine --config {free_config} --wait 180s "
        "--image kindest/node:v1.36.0 --kubeconfig /k/c",
    ]
    assert tools.entries()[-1]["provider"] == "docker"
    assert json.loads(capsys.readouterr().out) == {
        "cluster": "mine",
        "context": "kind-mine",
        "made": True,
        "ports": [],
    }


def test_up_takes_the_shipped_configuration(
    tools: FakeTools, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("simulator.install.kind.ensure_free", lambda port, remedy: asked.append(port))
    assert run(["kind", "up"]) == 0
    assert tools.calls() == [CLUSTERS, CREATE]
    assert asked == [8080, 4222]
    assert "unitsim kube install --context kind-gpuunit-sim" in capsys.readouterr().out


def test_up_leaves_a_cluster_that_is_there(tools: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    tools.add("kind", get_clusters="other\ngpuunit-sim\n")
    assert run(["kind", "up"]) == 0
    assert tools.calls() == [CLUSTERS]
    assert "was there already" in capsys.readouterr().out


@pytest.mark.parametrize(("there", "calls"), [(True, 2), (False, 1)])
def test_down(there: bool, calls: int, tools: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    tools.add("kind", get_clusters="gpuunit-sim\n" if there else "gpuunit-sim-2\n")
    assert run(["kind", "down", "--json"]) == 0
    assert tools.calls() == [CLUSTERS, "kind delete cluster --name gpuunit-sim"][:calls]
    assert json.loads(capsys.readouterr().out) == {"cluster": "gpuunit-sim", "deleted": there}


def test_load_brings_our_images_and_those_that_are_named(tools: FakeTools) -> None:
    tools.add("kind", get_clusters="gpuunit-sim\n")
    assert run(["kind", "load", "nats:2.12-alpine", "--json"]) == 0
    assert tools.calls() == [
        CLUSTERS,
        f"kind load docker-image --name gpuunit-sim {' '.join(IMAGES)} nats:2.12-alpine",
    ]


def test_podman_gives_its_images_as_a_file(tools: FakeTools) -> None:
    tools.remove("docker")
    tools.add("podman", **{"--version": "podman version 5.4.2\n"})
    tools.add("kind", get_clusters="gpuunit-sim\n")
    assert run(["kind", "load", "--tag", "1", "--image-prefix", "registry.example/a/"]) == 0
    _, save, load = tools.calls()
    assert save.startswith("podman save --multi-image-archive --output ")
    assert save.endswith("registry.example/a/platform:1 registry.example/a/sidecar:1 registry.example/a/echo:1")
    archive = save.split()[4]
    assert load == f"kind load image-archive --name gpuunit-sim {archive}"
    assert not Path(archive).exists()
    assert tools.entries()[-1]["provider"] == "podman"


def test_build_makes_three_images(tools: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kind", "build", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"images": IMAGES}
    builds = [entry for entry in tools.entries() if entry["call"][1] == "build"]
    assert [entry["call"][2:4] for entry in builds] == [["--tag", image] for image in IMAGES]
    for entry in builds:
        assert {"context/install.py", "context/constraints.txt", "context/source"} <= set(entry["context"])
        assert not Path(entry["call"][-1]).exists()


def test_build_from_another_base_and_without_a_network(tools: FakeTools, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a-1-py3-none-any.whl").write_bytes(b"")
    base = "registry.example/python@sha256:0123"
    assert run(["kind", "build", "--base", base, "--wheels", str(tmp_path / "wheels"), "--engine", "docker"]) == 0
    builds = [line for line in tools.calls() if line.startswith("docker build")]
    assert len(builds) == 3
    for line in builds:
        assert line.startswith(f"docker build --build-arg BASE={base} --build-arg PIP_ARGS=--no-index --tag ")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["up", "--name", "Upper"], "cluster name 'Upper'"),
        (["up", "--name", "a_b"], "cluster name 'a_b'"),
        (["up", "--engine", "lxc"], "lxc"),
        (["build", "--base=-v"], "--base '-v'"),
        (["build", "--base", ""], "--base ''"),
        (["build", "--tag", "a b"], "image tag 'a b'"),
        (["build", "--image-prefix", "A"], "image prefix 'A'"),
        (["build", "--wheels", "/none"], "--wheels /none holds no wheels"),
        (["load"], "there is no cluster gpuunit-sim: make it with 'unitsim kind up"),
        (["load", ""], "'' is no image"),
        (["load", "--tag", ""], "image tag ''"),
        (["dwn"], "dwn"),
    ],
)
def test_wrong_usage_of_kind(
    arguments: list[str], hint: str, tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["kind", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    [line] = told.err.splitlines()
    assert hint in line
    assert not [call for call in tools.calls() if call != CLUSTERS]


@pytest.mark.parametrize(
    ("content", "code", "hint"),
    [
        (None, 4, "No such file"),
        ("[]", 2, "is no configuration of kind's"),
        ("nodes: [{extraPortMappings: [{hostPort: x}]}]", 2, "is no configuration of kind's"),
        ("nodes: 3", 2, "is no configuration of kind's"),
    ],
)
def test_configurations_that_cannot_be_used(
    content: str | None, code: int, hint: str, tools: FakeTools, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_text(content)
    assert run(["kind", "up", "--config", str(path)]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert hint in line


def test_a_taken_port_is_found_before_kind_starts(
    tools: FakeTools, tmp_path: Path, taken_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"nodes: [{{role: control-plane, extraPortMappings: [{{hostPort: {taken_port}}}]}}]")
    assert run(["kind", "up", "--config", str(path)]) == 4
    assert f"port {taken_port} is taken by" in capsys.readouterr().err
    assert tools.calls() == [CLUSTERS]


COMMANDS = (["up"], ["down"], ["load"])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("name", "answers", "hint"),
    [
        ("kind", None, "kind 0.24 or newer is needed and not on the PATH: install it from https://kind.sigs"),
        ("kind", {"version": "kind v0.23.0 go1.22\n"}, "kind 0.24 or newer is needed, this is 0.23.0: install it"),
        ("kind", {"version": Answer("kind v0.31.0", code=1)}, "kind 0.24 or newer is needed and not on the PATH"),
        ("docker", None, "a container engine is needed, docker 20.10 or podman 4.4 or newer: install it from"),
        ("docker", {"--version": "Docker version 19.03.1\n"}, "a container engine is needed, docker 20.10"),
        (
            "docker",
            {"info": Answer(err="Cannot connect to the Docker daemon.\n", code=1)},
            "no container engine works (docker: Cannot connect to the Docker daemon.): start its daemon",
        ),
    ],
)
def test_what_is_missing_is_one_line_with_its_fix(
    command: list[str],
    name: str,
    answers: dict[str, str | Answer] | None,
    hint: str,
    tools: FakeTools,
    free_config: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if answers is None:
        tools.remove(name)
    else:
        tools.add(name, **answers)
    config = ["--config", str(free_config)] if command == ["up"] else []
    assert run(["kind", *command, *config]) == 4
    [line] = capsys.readouterr().err.splitlines()
    assert hint in line
    assert tools.calls() == []


@pytest.mark.parametrize(("engine", "hint"), [("podman", "podman 4.4 or newer is needed"), ("docker", "does not work")])
def test_the_engine_that_is_named_is_the_only_one(
    engine: str, hint: str, tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    tools.add("docker", info=Answer(err="permission denied\n", code=1))
    assert run(["kind", "build", "--engine", engine]) == 4
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["up"], "create_cluster"),
        (["down"], "delete_cluster"),
        (["load"], "load"),
    ],
)
def test_a_program_that_fails_has_said_why(
    arguments: list[str], words: str, tools: FakeTools, free_config: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    there = "gpuunit-sim\n" if arguments != ["up"] else ""
    tools.add("kind", get_clusters=there, **{words: Answer(out="its story\n", err="its complaint\n", code=3)})
    config = ["--config", str(free_config)] if arguments == ["up"] else []
    assert run(["kind", *arguments, *config, "--json"]) == 1
    told = capfd.readouterr()
    assert told.out == ""
    assert "its story" in told.err
    assert "its complaint" in told.err
    assert "ended with code 3" in told.err


def test_kind_that_does_not_tell_its_clusters(tools: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    tools.add("kind", get_clusters=Answer(err="ERROR: no permission\n", code=1))
    assert run(["kind", "down"]) == 1
    assert "'kind get clusters' failed: ERROR: no permission" in capsys.readouterr().err


def test_a_build_that_fails_ends_the_command(tools: FakeTools, capfd: pytest.CaptureFixture[str]) -> None:
    tools.add("docker", build=Answer(err="no space left\n", code=1))
    assert run(["kind", "build"]) == 1
    assert "no space left" in capfd.readouterr().err
    assert len([line for line in tools.calls() if line.startswith("docker build")]) == 1
