"""User code that looks for everything about NATS, wherever it can: its answer says what it found, and where.

Run by the platform as a framework; `python hostile_framework.py` needs nothing but the framework's package. A call's
payload may hold `since`, a Unix time (files that were last changed earlier are somebody else's), and `own_only`: look
only at what was given to this very container, not at the machine around it.
"""

import asyncio
import contextlib
import os
import re
import ssl
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

import framework
from framework.contract import SOCKET_DIR, SOCKET_PATH_ENV, InvocationRequest
from framework.server import run

NEEDLES: Final = {
    "credentials file": rb"BEGIN (?:NATS )?USER",
    "nkey seed": rb"\bS[UAO][A-Z2-7]{56}\b",
    "JSON Web Token": rb"\beyJ[\w-]{8,}\.[\w-]{8,}",
    "queue address": rb"nats://",
    "subject": rb"runtime\.serverless|_INBOX|\$JS\b",
    "durable name": rb"serverless-sidecar-",
    "name of the credentials": rb"(?i)nats.credentials|nats\.creds",
}
MAX_BYTES: Final = 256 * 1024
MAX_FILES: Final = 20_000
TIMEOUT_S: Final = 3.0

PLACES: Final = ("/tmp", "/run", "/var/run", "/dev/shm", "/var/tmp", "/home", "/root", "/mnt", "/srv", "/etc")
PROCESS_FILES: Final = ("environ", "cmdline", "maps", "mounts", "mountinfo", "status", "cgroup", "stack")
CREDENTIALS_DIR: Final = "/var/run/serverless-sidecar"
SCRIPT: Final = Path(__file__).resolve()
SOURCES: Final = tuple(
    Path(name).resolve() for name in (sys.prefix, sys.base_prefix, Path(framework.__file__).parents[1])
)
"""Programs, which may well name what they do: they are the same for everybody and hold no secret."""

HTTP_PATHS: Final = ("/", "/metrics", "/connz?subs=1", "/varz", "/jsz", "/api/v1/secrets", "/apis")

Finding = tuple[str, str]
"""A needle's name, and the place it was found in."""


def needles_in(data: bytes, place: str) -> Iterator[Finding]:
    """What the data holds."""
    return ((name, place) for name, pattern in NEEDLES.items() if re.search(pattern, data))


def read(path: Path) -> bytes:
    """The beginning of a file, empty if this user cannot have it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read(MAX_BYTES) or b""
        except OSError:
            return b""


def files_below(directory: Path, since: float) -> Iterator[Path]:
    """Regular files below a directory that are not sources; no symbolic link is followed."""
    count = 0
    for parent, directories, names in os.walk(directory):
        here = Path(parent)
        if is_source(here) or is_copy(here):
            directories.clear()
            continue
        for name in names:
            path = here / name
            with contextlib.suppress(OSError):
                found = path.lstat()
                if stat.S_ISREG(found.st_mode) and found.st_mtime >= since and path != SCRIPT:
                    yield path
        count += len(names)
        if count > MAX_FILES:
            return


def is_source(path: Path) -> bool:
    """Whether the path belongs to the interpreter, its packages or this project."""
    resolved = Path(os.path.realpath(path))
    return any(resolved.is_relative_to(source) for source in SOURCES)


def is_copy(directory: Path) -> bool:
    """Whether somebody has a checkout of this project there."""
    return (directory / "sidecar/subjects.py").exists()


def search_files(directories: Iterable[Path], since: float) -> Iterator[Finding]:
    """Names and contents of files."""
    for directory in directories:
        for path in files_below(directory, since):
            yield from needles_in(os.fsencode(path), str(path))
            yield from needles_in(read(path), str(path))


def search_process(process: Path, since: float) -> Iterator[Finding]:
    """What /proc tells this user of a process: some files, open files, and where its root and directory lead."""
    for name in PROCESS_FILES:
        yield from needles_in(read(process / name), f"{process}/{name}")
    with contextlib.suppress(OSError):
        for link in (process / "fd").iterdir():
            target = str(link.readlink())
            yield from needles_in(target.encode(), f"{link} -> {target}")
            if target.startswith("/") and link.is_file() and not is_source(Path(target)):
                yield from needles_in(read(link), f"{link} -> {target}")
    with contextlib.suppress(OSError):
        if (process / "ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink():
            yield from search_files([process / way for way in ("cwd", f"root{CREDENTIALS_DIR}", "root/tmp")], since)


def search_own() -> list[Finding]:
    """What this container was given: environment, arguments, open files, directories, and its socket's directory."""
    found = [*needles_in(repr(dict(os.environ)).encode(), "environment")]
    found += needles_in(" ".join(sys.orig_argv).encode(), "arguments")
    found += search_process(Path(f"/proc/{os.getpid()}"), 0)
    sockets = Path(os.environ.get(SOCKET_PATH_ENV, SOCKET_DIR)).parent
    found += search_files({Path.cwd(), Path.home(), sockets, Path(SOCKET_DIR)}, 0)
    return found


def search_machine(since: float) -> list[Finding]:
    """What lies about on the machine and in its process table."""
    found = [*search_files(map(Path, PLACES), since)]
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            found += search_process(process, since)
    for name in ("tcp", "tcp6", "unix", "udp"):
        found += needles_in(read(Path("/proc/net") / name), f"/proc/net/{name}")
    return found


def listening_ports() -> list[int]:
    """Loopback ports that somebody listens on, which every process may know."""
    lines = read(Path("/proc/net/tcp")).decode().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sorted({int(field[1].partition(":")[2], 16) for field in fields if len(field) > 3 and field[3] == "0A"})


async def try_port(port: int) -> tuple[dict[str, Any], list[Finding]]:
    """What a port says to somebody without credentials: as a NATS server, or to HTTP requests, over TLS if it must."""
    greeting = await exchange(port, b"", b"\r\n")
    if greeting.startswith(b"INFO "):
        hello = b'CONNECT {"verbose":false,"pedantic":false,"lang":"x","version":"1","protocol":1}\r\nPING\r\n'
        answer = await exchange(port, hello, b"PONG", b"-ERR")
        verdict = "accepted" if b"PONG" in answer else "refused" if b"-ERR" in answer else "silent"
        return {"port": port, "nats": verdict}, []
    requests = [f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode() for path in HTTP_PATHS]
    answers = await asyncio.gather(*(exchange(port, request) for request in requests))
    if not any(answers):
        trusting = ssl._create_unverified_context()
        answers = await asyncio.gather(*(exchange(port, request, tls=trusting) for request in requests))
    statuses = [answer.partition(b"\r\n")[0].decode(errors="replace") for answer in answers]
    places = [f"http://127.0.0.1:{port}{path}" for path in HTTP_PATHS]
    found = [finding for answer, place in zip(answers, places, strict=True) for finding in needles_in(answer, place)]
    return {"port": port, "http": dict(zip(HTTP_PATHS, statuses, strict=True))}, found


async def exchange(port: int, request: bytes, *ends: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """Send something and read the answer: up to one of `ends`, the end of the connection, or the time-out."""
    answer = b""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
            try:
                writer.write(request)
                while not any(end in answer for end in ends) and (chunk := await reader.read(65536)):
                    answer += chunk
            finally:
                writer.close()
    return answer


async def spy(request: InvocationRequest) -> dict[str, Any]:
    """Search, and tell."""
    wanted = msgspec.json.decode(request.payload, type=dict[str, Any])
    found = await asyncio.to_thread(search_own)
    ports: list[dict[str, Any]] = []
    if not wanted.get("own_only"):
        found += await asyncio.to_thread(search_machine, float(wanted["since"]))
        for port, more in await asyncio.gather(*map(try_port, listening_ports())):
            ports.append(port)
            found += more
    return {"pid": os.getpid(), "uid": os.getuid(), "found": sorted(set(found)), "ports": ports}


if __name__ == "__main__":
    run(spy)
