"""Connections to the ports of a pod: `kubectl port-forward`.

All pods share this machine's ports, so a connection is made only to where a process of the pod itself listens. Texts
are those of containerd with a pod in the host's network.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import psutil

from simulator.kube.pod_streams import PodPorts, PortForwardError, PortStream
from simulator.kubelet.environment import POD_IP
from simulator.kubelet.race import first_of

READ_BYTES: Final = 1 << 15
"""What is handed on at once, as by a kubelet: there are clients that take no messages of 64 KiB and more."""
CONNECT_TIMEOUT_S: Final = 10.0
LINGER_S: Final = 0.5
"""For a client to send the rest when the pod has closed its side, as with a container runtime."""
_IPV4: Final = frozenset({POD_IP, "0.0.0.0"})  # noqa: S104 - what a program of the pod may listen on
_IPV6: Final = "::"
"""Takes IPv4 too, unless the program wants it otherwise."""


class ForwardedPorts(PodPorts):
    """The ports of one pod.

    `here` are the numbers that ports have on this machine, if they are others; `sessions` tells those of the pod's
    processes as it is now, for a container may be started again.
    """

    def __init__(self, uid: str, here: Mapping[int, int], sessions: Callable[[], Collection[int]]) -> None:
        self._uid = uid
        self._here = here
        self._sessions = sessions

    async def forward(self, port: int, client: PortStream) -> None:
        """See `PodPorts.forward`."""
        try:
            reader, writer = await self._connect(port)
        except OSError as error:
            problem = f"IPv4: dial tcp4 {POD_IP}:{port}: connect: {_reason(error)}"
            where = f'failed to connect to localhost:{port} inside namespace "{self._uid}", {problem}'
            raise self._failure(port, f'failed to execute portforward in network namespace "host": {where}') from error
        try:
            await _copy(client, reader, writer)
        except _PodError as error:
            raise self._failure(port, str(error)) from error
        finally:
            await _close(writer)

    async def _connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        number = self._here.get(port, port)
        if not await asyncio.to_thread(listens, self._sessions(), number):
            raise ConnectionRefusedError(f"connection refused: no process of this pod listens on port {port}")
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await asyncio.open_connection(POD_IP, number, limit=READ_BYTES)

    def _failure(self, port: int, problem: str) -> PortForwardError:
        return PortForwardError(f"error forwarding port {port} to pod {self._uid}, uid : {problem}")


class _PodError(Exception):
    """The pod's side of the connection broke."""


def listens(sessions: Collection[int], port: int) -> bool:
    """Whether a process of these sessions listens on a port, at an address that `POD_IP` reaches."""
    addresses: set[str] = set()
    for pid in psutil.pids():
        if _session_of(pid) in sessions:
            with contextlib.suppress(psutil.Error):  # it has ended, or is hidden from us
                addresses |= _addresses(psutil.Process(pid).net_connections("tcp"), port)
    if addresses & _IPV4:
        return True
    # One that takes IPv6 only leaves the same port of IPv4 to others.
    return _IPV6 in addresses and not _addresses(psutil.net_connections("tcp4"), port) & _IPV4


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:  # it has ended, or is hidden from us
        return -1


def _addresses(connections: Iterable[Any], port: int) -> set[str]:
    """Where somebody listens on a port."""
    listening = (entry.laddr for entry in connections if entry.status == psutil.CONN_LISTEN)
    return {address.ip for address in listening if address.port == port}


async def _copy(client: PortStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy in both directions until both have ended, or the pod's has and the client has had its time, or it is lost.

    Raises:
        _PodError: the pod's side of the connection broke.
        ConnectionError: the client is gone.
    """
    pod_done = asyncio.Event()

    async def to_client() -> None:
        while data := await _from_pod(reader):
            await client.write(data)
        await client.end()
        pod_done.set()
        await asyncio.sleep(LINGER_S)

    async def to_pod() -> None:
        with contextlib.suppress(OSError):  # the pod reads no more; what it sends tells why
            while data := await client.read():
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        await pod_done.wait()

    await first_of(to_client(), to_pod(), client.lost())


async def _from_pod(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(READ_BYTES)
    except OSError as error:
        raise _PodError(f"read tcp4 {POD_IP}: read: {_reason(error)}") from error


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close the connection, as soon as the pod has taken what is on the way to it."""
    writer.close()
    with contextlib.suppress(OSError):
        try:
            async with asyncio.timeout(LINGER_S):
                await writer.wait_closed()
        except (TimeoutError, asyncio.CancelledError):
            writer.transport.abort()  # not when it is closed: asyncio's transports cannot take that
            raise


def _reason(error: OSError) -> str:
    """What went wrong, as Go says it."""
    if isinstance(error, TimeoutError):
        return "i/o timeout"
    return (os.strerror(error.errno) if error.errno else str(error)).lower()
