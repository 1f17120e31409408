"""Where the queue is, as its URL tells it: the part of a URL that egress rules depend on (contract 6.4, C7)."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORT = 4222
_SCHEMES = frozenset({"nats", "tls", "ws", "wss"})
_NAMESPACE_AND_SERVICE = 2

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class QueueUrlError(ValueError):
    """A queue URL that cannot be read; the message shows the form and never the URL, which may hold a password."""


@dataclass(frozen=True, slots=True)
class QueueHost:
    """One server of the queue. `name` is the host as written, lower-case and without a final dot."""

    name: str
    port: int

    @property
    def address(self) -> IPAddress | None:
        """The IP address, when the host is written as one."""
        try:
            return ipaddress.ip_address(self.name)
        except ValueError:
            return None

    @property
    def namespace(self) -> str:
        """The namespace that a cluster DNS name holds: the label before `svc`; also of a headless pod's name (C7)."""
        labels = self.name.split(".")
        if "svc" not in labels[_NAMESPACE_AND_SERVICE:]:
            return ""
        return labels[labels.index("svc", _NAMESPACE_AND_SERVICE) - 1]

    @property
    def is_loopback(self) -> bool:
        """Whether the queue is on the pod's own host, where no network policy applies."""
        return self.name == "localhost" or (self.address is not None and self.address.is_loopback)

    @property
    def is_in_cluster(self) -> bool:
        """Whether the name can only be one of the cluster's DNS: `a.b.svc`, or a single label."""
        return self.address is None and not self.is_loopback and (bool(self.namespace) or "." not in self.name)


def queue_hosts(url: str) -> tuple[QueueHost, ...]:
    """Return the servers of a queue URL, or of a comma-separated list; a missing scheme means `nats` (C7).

    Raises:
        QueueUrlError: there is no host, or the port or the scheme is wrong.
    """
    return tuple(_queue_host(part.strip()) for part in url.split(",")) if url.strip() else ()


def _queue_host(url: str) -> QueueHost:
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise QueueUrlError("the queue URL must look like nats://host:4222") from error
    if not host or any(c.isspace() for c in host) or parts.scheme not in _SCHEMES:
        raise QueueUrlError(f"the queue URL must look like nats://host:4222, with one of {', '.join(sorted(_SCHEMES))}")
    return QueueHost(host.rstrip("."), DEFAULT_PORT if port is None else port)
