"""Taking the action of a probe, or of a hook, once."""

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from simulator.kubelet.environment import POD_IP
from simulator.kubelet.probe_rules import Action, Exec, HttpGet, TcpSocket
from simulator.processes.process import Process
from simulator.processes.spawn import CannotStartError

Run = Callable[[tuple[str, ...], Path], Awaitable[Process]]
"""Starts a command as the container is run; its output goes to the file."""

OUTPUT_LIMIT = 1024
"""Bytes of a command's output that go into the message."""


async def ask(action: Action, timeout_s: float, session: aiohttp.ClientSession, run: Run) -> str | None:
    """Return None if the action succeeded, else what was wrong; it is given up after `timeout_s` seconds."""
    try:
        async with asyncio.timeout(timeout_s):
            match action:
                case HttpGet(url, headers):
                    return await _http_get(session, url, dict(headers))
                case TcpSocket(port):
                    return await _tcp_socket(port)
                case Exec(command):
                    return await _exec(run, command)
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"


async def _http_get(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> str | None:
    try:
        async with session.get(url, headers=headers, allow_redirects=False, ssl=False) as answer:
            return None if 200 <= answer.status < 400 else f"HTTP probe failed with statuscode: {answer.status}"
    except (aiohttp.ClientError, OSError) as error:
        reason = "connect: connection refused" if isinstance(error, aiohttp.ClientConnectorError) else str(error)
        return f'Get "{url}": {reason or type(error).__name__}'


async def _tcp_socket(port: int) -> str | None:
    try:
        _, writer = await asyncio.open_connection(POD_IP, port)
    except OSError as error:
        return f"dial tcp {POD_IP}:{port}: {error.strerror or error}"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return None


async def _exec(run: Run, command: tuple[str, ...]) -> str | None:
    with tempfile.NamedTemporaryFile() as output:
        try:
            process = await run(command, Path(output.name))
        except CannotStartError as error:
            return str(error)
        try:
            code = await process.wait()
        finally:
            await process.kill()
        return None if code == 0 else output.read(OUTPUT_LIMIT).decode(errors="replace")
