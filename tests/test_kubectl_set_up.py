"""Which kubectl the tests take, and what they say when there is none."""

from pathlib import Path

import pytest

from simulator.kube.access.cache import NAME
from tests.kubectl import RELEASE, NoKubectlError, kubectl_or_reason

pytestmark = pytest.mark.e2e

choose = kubectl_or_reason.__wrapped__


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / f"{NAME}-tests"


def put_kubectl(program: Path, release: str) -> Path:
    major, minor = release.split(".")
    program.parent.mkdir(parents=True)
    told = f'{{"clientVersion": {{"major": "{major}", "minor": "{minor}"}}}}'
    program.write_text(f"#!/bin/sh\necho '{told}'\n")
    program.chmod(0o755)
    return program


def test_the_machines_own_is_taken_when_it_is_of_the_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = put_kubectl(tmp_path / "bin" / "kubectl", RELEASE)
    monkeypatch.setenv("PATH", str(own.parent), prepend=":")
    assert choose() == own


def test_else_the_one_that_was_fetched_is_taken(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = put_kubectl(tmp_path / "bin" / "kubectl", "1.20")
    monkeypatch.setenv("PATH", str(other.parent), prepend=":")
    fetched = put_kubectl(cache / f"kubectl-{RELEASE}", RELEASE)
    assert choose() == fetched


def test_the_reason_is_told_and_nothing_is_left_when_nothing_can_be_fetched(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    reason = choose()
    assert isinstance(reason, NoKubectlError)
    assert str(reason).startswith(f"this machine has none of release {RELEASE}; Debian's kubectl cannot be fetched: ")
    assert [entry.suffix for entry in cache.iterdir()] == [".lock"]


def test_the_reason_is_told_when_there_is_no_place_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    reason = choose()
    assert isinstance(reason, NoKubectlError)
    assert str(reason).startswith("it cannot be kept: ")
