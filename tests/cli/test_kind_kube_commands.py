"""`unitsim kube`: what a person sees who gets it wrong, or says no."""

import io
import json
from pathlib import Path

import msgspec
import pytest

from simulator.cli import run
from simulator.cli.kube import _ask
from simulator.errors import UsageError

COMMANDS = ("install", "uninstall")


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(
        """
contexts: [{name: dev, context: {cluster: dev, user: dev}}]
clusters: [{name: dev, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: dev, user: {}}]
current-context: dev
"""
    )
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["instal"], 2, "instal"),
        (["install"], 2, "--context"),
        (["uninstall"], 2, "--context"),
        (["install", "--context", "prod"], 4, "no context 'prod'; it has dev"),
        (["uninstall", "--context", "prod", "--yes"], 4, "no context 'prod'; it has dev"),
        (["install", "--context", "dev"], 1, "no answer from the Kubernetes API at http://127.0.0.1:1"),
        (["uninstall", "--context", "dev"], 1, "no answer from the Kubernetes API at http://127.0.0.1:1"),
        (["install", "--context", "dev", "--timeout", "0"], 2, "--timeout 0"),
        (["uninstall", "--context", "dev", "--timeout", "nan"], 2, "--timeout nan"),
        (["install", "--context", "dev", "--namespace", "A"], 2, "namespace 'A'"),
        (["install", "--context", "dev", "--api-node-port", "80"], 2, "node port 80"),
        (["manifests", "--tag", "a b"], 2, "image tag 'a b'"),
        (["manifests", "--image-prefix", "A"], 2, "image prefix 'A'"),
        (["manifests", "--storage", "much"], 2, "storage 'much'"),
        (["manifests", "--max-concurrency", "0"], 2, "max concurrency 0"),
    ],
)
def test_wrong_usage_of_kube(
    arguments: list[str], code: int, hint: str, kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--kubeconfig", str(kubeconfig)] if arguments[0] in COMMANDS else []
    assert run(["kube", *arguments, *given]) == code
    told = capsys.readouterr()
    assert told.out == ""
    [line] = told.err.splitlines()
    assert hint in line


@pytest.mark.parametrize("command", COMMANDS)
def test_a_kubeconfig_that_is_not_there(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kube", command, "--context", "dev", "--kubeconfig", str(tmp_path / "none")]) == 4
    assert f"cannot use the kubeconfig {tmp_path / 'none'}: No such file" in capsys.readouterr().err


def test_manifests_as_yaml_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kube", "manifests", "--namespace", "mine"]) == 0
    documents = [msgspec.yaml.decode(text) for text in capsys.readouterr().out.split("---\n")[1:]]
    assert run(["kube", "manifests", "--namespace", "mine", "--json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    items = json.loads(line)["items"]
    assert [(obj["kind"], obj["metadata"]["name"]) for obj in documents] == [
        (obj["kind"], obj["metadata"]["name"]) for obj in items
    ]
    assert {obj["metadata"]["namespace"] for obj in items if obj["kind"] == "Deployment"} == {"mine"}


def test_nobody_is_there_to_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(UsageError, match="give --yes"):
        _ask(["all of it"])


@pytest.mark.parametrize("answer", ["", "n", "no", "yep"])
def test_no_means_that_nothing_is_deleted(
    answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    with pytest.raises(UsageError, match="nothing was deleted"):
        _ask(["namespace/x"], lambda _prompt: answer)
    assert "namespace/x" in capsys.readouterr().err


@pytest.mark.parametrize("answer", ["y", "YES ", "yes"])
def test_yes_goes_on(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    _ask(["namespace/x"], lambda _prompt: answer)


class Terminal:
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True
