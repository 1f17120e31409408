"""What a person sees who gets the command line wrong: one or two lines on stderr and the right exit code."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.cli import run


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        yield holder.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "code", "hints"),
    [
        pytest.param(["upp"], 2, ['"upp"', 'Did you mean "up"'], id="unknown command"),
        pytest.param(["up", "--api-prt", "1"], 2, ["--api-prt", "Did you mean --api-port"], id="unknown flag"),
        pytest.param(["up", "--api-port", "x"], 2, ["--api-port", '"x"'], id="flag of the wrong type"),
        pytest.param(["up", "--api-port", "65536"], 2, ["--api-port 65536", "0 and 65535"], id="port out of range"),
        pytest.param(["up", "--pool", "a b", "--api-port", "0"], 2, ["--pool", "'a b'"], id="bad pool"),
        pytest.param(["up", "--image", "x"], 2, ["--image 'x'", "NAME=VALUE"], id="bad image pair"),
        pytest.param(["up", "--startup", "x=load:1s"], 2, ["--startup: 'x=load:1s'", "model-load"], id="bad stage"),
        pytest.param(["up", "--startup", "x=model-load:soon"], 2, ["--startup: 'soon'", "20s~5s*9"], id="bad times"),
        pytest.param(["up", "--sidecar-command", "'a"], 2, ["--sidecar-command", "quotation"], id="open quote"),
        pytest.param(["up", "--framework-command", ""], 2, ["--framework-command needs"], id="empty command"),
        pytest.param(["run", "sync-ech"], 2, ["no scenario 'sync-ech'", "did you mean sync-echo"], id="near scenario"),
        pytest.param(["run", "zzz"], 2, ["no scenario 'zzz'", "unitsim list"], id="unknown scenario"),
        pytest.param(["run", "--all", "sync-echo"], 2, ["not both"], id="all and names"),
        pytest.param(["run", "--all", "--timeout", "0"], 2, ["--timeout 0", "more than 0"], id="no time"),
        pytest.param(["run", "--all", "--target", "moon"], 2, ["--target", '"moon"'], id="unknown target"),
        pytest.param(["run", "--all", "--target", "kube"], 2, ["needs --context", "get-contexts"], id="no context"),
        pytest.param(["run", "--all", "--context", "x"], 2, ["--context is for clusters"], id="local context"),
        pytest.param(["run", "--all", "--kubeconfig", "x"], 2, ["--kubeconfig is for"], id="local kubeconfig"),
        pytest.param(["run", "--all", "--namespace", "x"], 2, ["--namespace is for"], id="local namespace"),
        pytest.param(["run", "--all", "--target", "kind", "--keep"], 2, ["--keep is for local"], id="kept there"),
        pytest.param(
            ["run", "sync-echo", "--target", "kind", "--kubeconfig", "/none"],
            4,
            ["kubeconfig /none: No such file", "--kubeconfig"],
            id="no kubeconfig",
        ),
        pytest.param(["run"], 5, ["no scenario selected", "--all"], id="nothing selected"),
        pytest.param(["invoke"], 2, ["invoke", "POOL"], id="missing argument"),
        pytest.param(["invoke", "p", "{"], 2, ["payload is not JSON"], id="payload is no JSON"),
        pytest.param(["invoke", "p", "@/none"], 2, ["cannot read", "/none"], id="payload file is missing"),
        pytest.param(["invoke", "p", "1", "--attribute", "x"], 2, ["--attribute 'x'"], id="bad attribute"),
        pytest.param(["demo", "--calls", "0"], 2, ["--calls must be at least 1"], id="no calls"),
    ],
)
def test_wrong_usage(arguments: list[str], code: int, hints: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) <= 2
    for hint in hints:
        assert hint in told.err


def test_a_taken_port_is_named_with_its_user_and_the_flag(taken_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["up", "--api-port", str(taken_port)]) == 4
    told = capsys.readouterr().err
    assert f"port {taken_port} is taken by" in told
    assert "(pid " in told
    assert "--api-port" in told


def test_invoke_without_a_platform_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert run(["invoke", "sd-webui", "{}", "--api-url", url]) == 1
    told = capsys.readouterr().err
    assert url in told
    assert "unitsim up" in told


def test_list_shows_each_scenario_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert run(["list", "--json"]) == 0
    documents = json.loads(capsys.readouterr().out)
    assert {"sync-echo", "async-echo", "repeated-invocation", "no-such-pool", "failing-handler"} <= {
        document["name"] for document in documents
    }
    assert [line.split()[0] for line in lines] == [document["name"] for document in documents]
    assert all(document["summary"] in line for document, line in zip(documents, lines, strict=True))
    needs = {document["name"]: document["needs"] for document in documents}
    assert (needs["sync-echo"], needs["pod-killed"]) == ([], ["pod-killed"])
    [line] = [line for line in lines if line.startswith("pod-killed ")]
    assert line.endswith("[needs pod-killed]")


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("up", "invoke", "list", "run", "demo"):
        assert command in shown
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("unitsim 0.")


def test_payload_from_a_file(tmp_path: Path) -> None:
    from simulator.cli.invoke import read_payload

    file = tmp_path / "payload.json"
    file.write_text('{"prompt": "grün"}', encoding="utf-8")
    assert read_payload(f"@{file}") == {"prompt": "grün"}
