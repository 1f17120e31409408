"""A container engine for the tests: the one that runs here, or a `dockerd` of their own; and a base image made here."""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.debian_packages import NoPackageError, unpacked
from tests.pip import bundled_pip

START_S: Final = 60.0
POLL_S: Final = 0.2
_OF_WHEELS: Final = ("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libgcc_s.so.1", "libstdc++.so.6")
"""Libraries that packages may ask for beside those of Python itself."""
BASE_IMAGE: Final = "gpuunit-sim-tests/base:local"
_SKIPPED: Final = {"test", "idlelib", "tkinter", "turtledemo", "lib2to3", "site-packages", "__pycache__"}


class NoEngineError(Exception):
    """Nothing here runs containers; the message says why."""


@contextmanager
def container_engine() -> Iterator[dict[str, str]]:
    """The environment in which `docker` works; a daemon that had to be started for it ends with the block.

    Raises:
        NoEngineError: there is none, and none can be started.
    """
    if _works({}):
        yield {}
        return
    if os.geteuid() != 0:
        raise NoEngineError("docker's daemon does not run, and only root can start one")
    with tempfile.TemporaryDirectory(prefix="unitsim-docker-") as name:
        programs = {} if shutil.which("docker") and shutil.which("dockerd") else _fetched(Path(name) / "packages")
        with _daemon(Path(name), programs) as env:
            yield env


def _fetched(directory: Path) -> dict[str, str]:
    """The environment in which Debian's docker is found."""
    try:
        root = unpacked(directory, "docker.io")
    except NoPackageError as error:
        raise NoEngineError(f"docker is not installed, and {error}") from error
    if not (root / "usr" / "sbin" / "dockerd").exists():
        raise NoEngineError("docker.io is installed, but its dockerd is not on the PATH")
    [libraries] = (root / "usr" / "lib").glob("*-linux-gnu")
    path = f"{root}/usr/sbin:{root}/usr/bin:{os.environ['PATH']}"
    return {"PATH": path, "LD_LIBRARY_PATH": str(libraries)}


@contextmanager
def _daemon(directory: Path, programs: dict[str, str]) -> Iterator[dict[str, str]]:
    """A daemon that touches nothing of this machine's network, and nothing outside the directory."""
    env = programs | {"DOCKER_HOST": f"unix://{directory}/docker.sock", "DOCKER_BUILDKIT": "0"}
    command = [
        "dockerd",
        *("--host", env["DOCKER_HOST"], "--pidfile", f"{directory}/pid"),
        *("--data-root", f"{directory}/data", "--exec-root", f"{directory}/exec"),
        *("--iptables=false", "--ip6tables=false", "--bridge=none"),
    ]
    log = directory / "log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            command, env=os.environ | env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_S
        while not _works(env):
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise NoEngineError(f"dockerd does not run here: {log.read_text(errors='replace')[-500:]}")
            time.sleep(POLL_S)
        yield env
    finally:
        daemon.terminate()
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait(10)
        _unmount_below(directory)


def _unmount_below(directory: Path) -> None:
    """The daemon leaves the network namespace of its host-network containers mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = line.split()[4]
        if place.startswith(f"{directory}/"):
            subprocess.run(["umount", place], timeout=20, check=False)


def _works(env: dict[str, str]) -> bool:
    try:
        asked = subprocess.run(["docker", "info"], env=os.environ | env, capture_output=True, timeout=30, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def make_base_image(env: dict[str, str], directory: Path) -> str:
    """Import this interpreter, with the libraries that it needs and pip, as an image; its name."""
    archive = directory / "base.tar"
    with tarfile.open(archive, "w") as tar:
        base = _Base(tar)
        _add_python(base)
        base.text("/etc/passwd", b"root:x:0:0:root:/root:/\n")
        base.directory(Path("/tmp"), 0o1777)
    change = "ENV PATH=/usr/local/bin:/usr/bin:/bin"
    docker(env, "import", "--change", change, str(archive), BASE_IMAGE)
    return BASE_IMAGE


class _Base:
    """An image's files. Each directory is open to all: docker would make those that are not named for root only."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._directories = {Path("/")}

    def directory(self, path: Path, mode: int = 0o755) -> None:
        if path not in self._directories:
            self._directories.add(path)
            self.directory(path.parent)
            self._entry(str(path), tarfile.DIRTYPE, mode=mode)

    def file(self, source: Path, path: Path | None = None) -> None:
        self.directory((path or source).parent)
        self._tar.add(source.resolve(), str(path or source), recursive=False)

    def link(self, path: str, target: str) -> None:
        self.directory(Path(path).parent)
        self._entry(path, tarfile.SYMTYPE, target=target)

    def text(self, path: str, content: bytes) -> None:
        self.directory(Path(path).parent)
        self._entry(path, tarfile.REGTYPE, content=content)

    def _entry(self, path: str, kind: bytes, *, mode: int = 0o644, target: str = "", content: bytes = b"") -> None:
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.type, entry.mode, entry.linkname, entry.size = kind, mode, target, len(content)
        self._tar.addfile(entry, io.BytesIO(content))


def _add_python(base: _Base) -> None:
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    python, library = Path(sys.base_prefix) / "bin" / name, Path(sys.base_prefix) / "lib" / name
    for place, directories, files in os.walk(library):
        directories[:] = [each for each in directories if each not in _SKIPPED and not each.startswith("config-")]
        for file in files:
            base.file(Path(place) / file)
    base.file(python)
    [libc] = [path for path in _libraries(python) if path.name == "libc.so.6"]
    for needed in [libc.parent / each for each in _OF_WHEELS]:
        if needed.exists():
            base.file(needed)
    for needed in {path for binary in (python, *library.glob("lib-dynload/*.so")) for path in _libraries(binary)}:
        base.file(needed)
    base.link("/usr/bin/python3", str(python))
    with zipfile.ZipFile(bundled_pip()) as wheel:
        for file in wheel.namelist():
            base.text(f"{library}/site-packages/{file}", wheel.read(file))


def _libraries(binary: Path) -> list[Path]:
    told = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, timeout=20, check=False).stdout
    return [Path(found) for found in re.findall(r"(/\S+) \(0x", told)]


def docker(env: dict[str, str], *arguments: str, timeout: float = 300) -> str:
    """Run `docker` and return what it prints; what it complains of is part of the failure."""
    ended = subprocess.run(
        ["docker", *arguments], env=os.environ | env, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert ended.returncode == 0, f"docker {' '.join(arguments[:3])}: {ended.stdout[-500:]}{ended.stderr[-2000:]}"
    return ended.stdout
