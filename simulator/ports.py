"""Saying clearly that a port is taken: which one, by what, and how to choose another."""

import socket

from simulator.errors import PortTakenError

LOOPBACK = "127.0.0.1"


def ensure_free(port: int, remedy: str) -> None:
    """Check that this process could listen on a loopback port; 0 is always fine.

    Raises:
        PortTakenError: it could not; the message names the port and its user, and ends with the `remedy`.
    """
    if port == 0:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except PermissionError as error:
            raise PortTakenError(f"port {port} needs privileges, as all below 1024 do: {remedy}") from error
        except OSError as error:
            raise PortTakenError(f"port {port} is taken by {owner(port)}: stop that, or {remedy}") from error


def owner(port: int) -> str:
    """Name and pid of the process that listens on a port, as far as this user may know."""
    import psutil  # only for the message: it costs 30 ms

    try:
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and getattr(connection.laddr, "port", None) == port
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return "another program"
