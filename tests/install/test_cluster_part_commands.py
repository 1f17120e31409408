"""What a person sees who gets `unitsim reconciler`, `issuer` or `results` wrong, or the health options of any part."""

from pathlib import Path

import pytest

from sidecar.stream import StreamSettings
from simulator.cli import run
from simulator.cluster_parts import read_operator_key
from simulator.errors import UsageError
from simulator.identities.jwt import Key, KeyKind
from simulator.install.keys import PlatformKeys
from tests.install.fixed_keys import fixed_keys

NATS_URL = ("--nats-url", "nats://127.0.0.1:1")
CLUSTER = ("--kubeconfig", "/none")
ACCOUNT = "A" + "B" * 55


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    """The options that name the issuer's files, all good."""
    keys = fixed_keys()
    contents = {
        "accounts-credentials": keys.credentials("accounts", STREAM),
        "operator-key": keys.seeds["operator.nk"],
    }
    options: list[str] = []
    for name, text in contents.items():
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        options += [f"--{name}", str(path)]
    return tuple(options)


STREAM = StreamSettings()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["reconciler", "--nats-url", "nats://secret@", *CLUSTER], "--nats-url must be"),
        (["reconciler", *NATS_URL, *CLUSTER, "--queue-pod-label", "app"], "--queue-pod-label must have the form"),
        (["reconciler", *NATS_URL, *CLUSTER, "--queue-pod-label", "a b=c"], "pod label key 'a b'"),
        (["reconciler", *NATS_URL, *CLUSTER, "--queue-namespace", "A"], "namespace 'A'"),
        (["reconciler", *NATS_URL, *CLUSTER, "--blocked-cidr", "10/8/8"], "blocked range"),
        (["reconciler", *NATS_URL, *CLUSTER, "--concurrency", "0"], "--concurrency 0"),
        (["reconciler", *NATS_URL, *CLUSTER, "--heartbeat-interval", "nan"], "--heartbeat-interval nan"),
        (["reconciler", "--nats-url", "nats://nats.gpu.svc:4222", *CLUSTER], "network policy target"),
        (["reconciler", *NATS_URL, *CLUSTER, "--health-port", "70000"], "--health-port 70000"),
        (["reconciler", *NATS_URL, *CLUSTER, "--health-port", "0", "--health-host", "x"], "--health-host 'x'"),
        (["activator", *NATS_URL, *CLUSTER, "--health-port", "-1"], "--health-port -1"),
        (["results", "--nats-url", "http://x"], "--nats-url must be"),
        (["results", *NATS_URL, "--credentials", "/none.creds"], "/none.creds"),
        (["results", *NATS_URL, "--stream-name", "a b"], "'a b'"),
        (["api", *NATS_URL, *CLUSTER, "--port", "0", "--host", "localhost"], "--host 'localhost'"),
        (["api", *NATS_URL, *CLUSTER, "--port", "0", "--health-port", "70000"], "--health-port 70000"),
    ],
)
def test_wrong_usage_of_cluster_parts(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    [told] = capsys.readouterr().err.splitlines()
    assert hint in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (("--queue-account", "UABC"), "--queue-account must be"),
        (("--queue-account", ACCOUNT, "--concurrency", "0"), "--concurrency 0"),
        (("--queue-account", ACCOUNT, "--operator-key", "/none.nk"), "/none.nk"),
        (("--queue-account", ACCOUNT, "--accounts-credentials", "/none.creds"), "/none.creds"),
    ],
)
def test_wrong_usage_of_the_issuer(
    change: tuple[str, ...], hint: str, files: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [word for pair in zip(files[::2], files[1::2], strict=True) for word in pair if pair[0] not in change]
    assert run(["issuer", *NATS_URL, *CLUSTER, *options, *change]) == 2
    [told] = capsys.readouterr().err.splitlines()
    assert hint in told


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [
        (None, 0, "No such file"),
        ("", 0o600, "no seed"),
        ("SOgarbage", 0o600, "no seed"),
        ("\xff", 0o600, "no seed"),
        (PlatformKeys.fresh().seeds["queue.nk"], 0o600, "something else than an operator"),
        (Key(KeyKind.OPERATOR).seed, 0o644, "chmod 600"),
    ],
    ids=["missing", "empty", "garbage", "not text", "another kind", "open to others"],
)
def test_files_that_are_no_operators_key(content: str | None, mode: int, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "operator.nk"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(UsageError) as refused:
        read_operator_key(path)
    assert str(path) in str(refused.value)
    assert problem in str(refused.value)
    assert not content or content not in str(refused.value)


def test_an_operators_key(tmp_path: Path) -> None:
    key, path = Key(KeyKind.OPERATOR), tmp_path / "operator.nk"
    path.write_text(f"{key.seed}\n")
    path.chmod(0o440)
    assert read_operator_key(path).public == key.public
