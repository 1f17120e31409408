"""Free ports for pods: all pods share this machine's ports, so those that probes and hooks name are given others."""

import socket
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from simulator.kube.kinds import Object
from simulator.kubelet.env_sources import ConfigError
from simulator.kubelet.environment import POD_IP
from simulator.processes.spawn import ON_LINUX

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def port_number(container: Object, port: int | str) -> int:
    """Return the number of a port that a probe or hook names, which may be the name of one of the container's ports.

    Raises:
        ConfigError: the container has no port of that name.
    """
    if isinstance(port, int):
        return port
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise ConfigError(
        f'container {container["name"]}: a probe or hook names the port "{port}", which is not among its ports'
    )


def called_ports(containers: Iterable[Object]) -> set[int]:
    """The ports that probes and preStop hooks of these containers name. Raises ConfigError, as `port_number`."""
    return {port_number(container, port) for container in containers for port in _called_ports(container)}


def _called_ports(container: Object) -> Iterator[int | str]:
    for caller in (*map(container.get, PROBES), (container.get("lifecycle") or {}).get("preStop")):
        for action in ("httpGet", "tcpSocket"):
            if target := (caller or {}).get(action):
                yield target["port"]


class PortReservations:
    """One free port of this machine for each of a pod's ports, kept until this context manager is left.

    A reservation is a socket that is bound but does not listen: nobody else is given the port, while a program that
    sets SO_REUSEADDR, as servers do, can bind it and listen. Other systems than Linux do not allow that; there the
    port is only chosen, not held.
    """

    def __init__(self, ports: Iterable[int]) -> None:
        self._sockets: list[socket.socket] = []
        self.ports: dict[int, int] = {}
        try:
            for port in sorted(ports):
                self.ports[port] = self._reserve()
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the ports back."""
        for reservation in self._sockets:
            reservation.close()
        self._sockets.clear()

    def _reserve(self) -> int:
        reservation = socket.socket()
        self._sockets.append(reservation)
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind((POD_IP, 0))
        port: int = reservation.getsockname()[1]
        if not ON_LINUX:
            reservation.close()
        return port
