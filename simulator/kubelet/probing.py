"""Taking the action of a probe, or of a hook, once."""

import asyncio
import contextlib
import shlex
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from simulator.kubelet.environment import POD_IP
from simulator.kubelet.pre_stop import Hook, Sleep
from simulator.kubelet.probe_rules import Action, Exec, HttpGet, TcpSocket
from simulator.processes.process import Process
from simulator.processes.spawn import CannotStartError

Run = Callable[[tuple[str, ...], Path], Awaitable[Process]]
"""Starts a command as the container is run; its output goes to the file."""

OUTPUT_LIMIT = 1024
"""Bytes of a command's output that go into the message."""


async def ask(action: Action | Hook, timeout_s: float, session: aiohttp.ClientSession, run: Run) -> str | None:
    """Return None if the action succeeded, else what was wrong; it is given up after `timeout_s` seconds."""
    try:
        async with asyncio.timeout(timeout_s):
            match action:
                case HttpGet():
                    return await _http_get(session, action)
                case TcpSocket():
                    return await _tcp_socket(action)
                case Exec(command):
                    return await _exec(run, command)
                case Sleep(seconds):
                    await asyncio.sleep(seconds)
                    return None
    except TimeoutError:
        return _too_late(action, timeout_s)


def _too_late(action: Action | Hook, timeout_s: float) -> str:
    match action:
        case HttpGet():
            late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return f'Get "{action.shown}": {late}'
        case TcpSocket():
            return f"dial tcp {POD_IP}:{action.shown}: i/o timeout"
        case Exec(command):
            return f"command timed out: {shlex.join(command)!r} timed out after {timeout_s:g}s"
        case Sleep(seconds):
            return f"a sleep of {seconds:g}s is longer than the {timeout_s:g}s that are left"


async def _http_get(session: aiohttp.ClientSession, action: HttpGet) -> str | None:
    try:
        async with session.get(action.url, headers=dict(action.headers), allow_redirects=False, ssl=False) as answer:
            good = action.any_status or 200 <= answer.status < 400
            return None if good else f"HTTP probe failed with statuscode: {answer.status}"
    except aiohttp.ClientConnectorError:
        address = urlsplit(action.shown).netloc
        return f'Get "{action.shown}": dial tcp {address}: connect: connection refused'
    except (aiohttp.ClientError, OSError) as error:
        return f'Get "{action.shown}": {str(error) or type(error).__name__}'


async def _tcp_socket(action: TcpSocket) -> str | None:
    try:
        _, writer = await asyncio.open_connection(POD_IP, action.port)
    except OSError:
        return f"dial tcp {POD_IP}:{action.shown}: connect: connection refused"
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
