"""Any context of a kubeconfig, without touching the file."""

import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from simulator.errors import EnvironmentMissing
from simulator.install.target import target_cluster, with_context


def config(*names: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example"}} for name in names],
        "users": [{"name": name, "user": {"token": "t"}} for name in names],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in names],
        "current-context": names[0] if names else "",
    }


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_bytes(msgspec.yaml.encode(content))
    return path


async def test_another_context_than_the_current_one(tmp_path: Path) -> None:
    path = written(tmp_path, config("one", "two"))
    before = path.read_bytes()
    async with target_cluster(path, "two") as cluster:
        assert cluster.url == "https://two.example"
    async with target_cluster(path, None) as cluster:
        assert cluster.url == "https://one.example"
    assert path.read_bytes() == before


def test_files_that_are_named_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    content = config("one")
    content["clusters"][0]["cluster"]["certificate-authority"] = "ca.crt"
    content["users"][0]["user"] = {"client-certificate": "/abs/c.crt", "client-key": "keys/c.key"}
    changed = with_context(written(tmp_path, content), "one")
    assert changed["clusters"][0]["cluster"]["certificate-authority"] == str(tmp_path / "ca.crt")
    assert changed["users"][0]["user"] == {
        "client-certificate": "/abs/c.crt",
        "client-key": str(tmp_path / "keys/c.key"),
    }


async def test_the_copy_is_ours_alone_and_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    async with target_cluster(written(tmp_path, config("one")), "one"):
        [copy] = (tmp_path / "t").glob("*/kubeconfig")
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not list((tmp_path / "t").iterdir())


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (None, "No such file"),
        ([], "it is no kubeconfig"),
        ({"contexts": [1]}, "it is no kubeconfig"),
        (config(), "no context 'x'; it has none"),
        (config("b", "a"), "no context 'x'; it has a, b"),
    ],
)
async def test_kubeconfigs_that_cannot_be_used(content: object, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "none" if content is None else written(tmp_path, content)
    with pytest.raises(EnvironmentMissing) as refused:
        async with target_cluster(path, "x"):
            pass
    assert str(path) in str(refused.value)
    assert hint in str(refused.value)
