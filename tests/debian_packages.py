"""Programs for tests from Debian's packages: fetched by apt, which checks signatures, and unpacked, not installed."""

import platform
import re
import subprocess
from pathlib import Path
from typing import Final

FETCH_S: Final = 180.0
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class NoPackageError(Exception):
    """It cannot be fetched here; the message says why."""


def unpacked(directory: Path, package: str, *, suite: str = "") -> Path:
    """Fetch a package with what it needs and this machine has not, and unpack it; the root of its files.

    With a `suite` that release of Debian is asked for it instead of this machine's, and for nothing else.

    Raises:
        NoPackageError: this is no Debian, or it cannot be fetched.
    """
    lists, archives, root = (directory / part for part in ("lists", "archives", "root"))
    for part in (lists / "partial", archives / "partial", root):
        part.mkdir(parents=True)
    apt = ["apt-get", "-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={directory}", "--quiet", "--yes"]
    apt += ["-o", f"Dir::Cache::archives={archives}", "-o", "APT::Sandbox::User=root"]
    apt += ["-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"]
    try:
        if suite:
            sources = directory / "sources.list"
            sources.write_text(f"deb [signed-by={KEYRING}] {_mirror(apt)} {suite} main\n")
            apt += ["-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=/dev/null"]
            apt += ["-o", "Dir::State::status=/dev/null"]  # else an installed one of another release counts, too
        _run(*apt, "update")
        if suite:
            _run(*apt, "download", package, cwd=archives)
        else:
            _run(*apt, "install", "--download-only", "--no-install-recommends", package)
        for archive in archives.glob("*.deb"):
            _run("dpkg-deb", "--extract", str(archive), str(root))
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        raise NoPackageError(f"Debian's {package} cannot be fetched: {str(said).strip()[-300:]}") from error
    return root


def _mirror(apt: list[str]) -> str:
    """Where this machine gets its own release from. Raises NoPackageError."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    asked = _run(*apt, "update", "--print-uris")
    found = re.search(rf"'(\S+)/dists/{re.escape(codename)}/InRelease'", asked)
    if found is None:
        raise NoPackageError("this machine has no source of Debian packages")
    return found[1]


def _run(*command: str, cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=FETCH_S, check=True).stdout
