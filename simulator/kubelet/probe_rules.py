"""What probes a container has, and what follows from the results of one. Times are in seconds, unscaled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from simulator.kube.kinds import Object
from simulator.kubelet.env_sources import ConfigError
from simulator.kubelet.environment import POD_IP
from simulator.kubelet.ports import port_number

ProbeKind = Literal["startup", "readiness", "liveness"]
_FIELDS: Final[dict[ProbeKind, str]] = {
    "startup": "startupProbe",
    "readiness": "readinessProbe",
    "liveness": "livenessProbe",
}


@dataclass(frozen=True, slots=True)
class HttpGet:
    """Succeeds on a status from 200 to 399, or on `any_status`. Messages show the pod's own port, not the one here."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    shown: str = field(default="", compare=False)
    any_status: bool = False


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """Succeeds when a connection is accepted. Messages show the pod's own port."""

    port: int
    shown: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Exec:
    """Succeeds when the command, run as the container is, ends with 0."""

    command: tuple[str, ...]


Action = HttpGet | TcpSocket | Exec


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of a container, with the defaults of Kubernetes filled in.

    `grace_s` is the grace period of a container that fails it; None: that of the pod.
    """

    kind: ProbeKind
    action: Action
    initial_delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3
    grace_s: float | None = None

    @property
    def patience_s(self) -> float:
        """How long it may fail from the first time on until a container is given up that has not passed it yet."""
        return self.period_s * self.failure_threshold


@dataclass(frozen=True, slots=True)
class ProbeCount:
    """Results in a row, and the verdict that they led to."""

    successes: int = 0
    failures: int = 0
    passing: bool = False

    def add(self, success: bool, success_threshold: int, failure_threshold: int) -> "ProbeCount":
        """Return the count after one more result."""
        successes = self.successes + 1 if success else 0
        failures = 0 if success else self.failures + 1
        if successes >= success_threshold:
            return ProbeCount(successes, failures, passing=True)
        return ProbeCount(successes, failures, passing=self.passing and failures < failure_threshold)


def container_probes(container: Object, ports: Mapping[int, int]) -> dict[ProbeKind, Probe]:
    """Return the container's probes; `ports` translates their ports.

    Raises:
        ConfigError: a probe is of a kind that is not supported, or names a port that the container does not have.
    """
    found: dict[ProbeKind, Probe] = {}
    for kind, name in _FIELDS.items():
        if entry := container.get(name):
            found[kind] = Probe(
                kind,
                _action(container, entry, ports),
                initial_delay_s=entry.get("initialDelaySeconds") or 0,
                period_s=entry.get("periodSeconds") or 10,
                timeout_s=entry.get("timeoutSeconds") or 1,
                success_threshold=entry.get("successThreshold") or 1,
                failure_threshold=entry.get("failureThreshold") or 3,
                grace_s=entry.get("terminationGracePeriodSeconds"),
            )
    return found


def http_get(container: Object, http: Object, ports: Mapping[int, int]) -> HttpGet:
    """Return the request that an `httpGet` asks for; `ports` translates its port. Raises ConfigError: no such port."""
    port = port_number(container, http["port"])
    scheme, path = (http.get("scheme") or "HTTP").lower(), (http.get("path") or "/").lstrip("/")
    headers = tuple((header["name"], header.get("value", "")) for header in http.get("httpHeaders") or ())
    there, shown = (f"{scheme}://{POD_IP}:{number}/{path}" for number in (ports.get(port, port), port))
    return HttpGet(there, headers, shown)


def _action(container: Object, entry: Object, ports: Mapping[int, int]) -> Action:
    if http := entry.get("httpGet"):
        return http_get(container, http, ports)
    if tcp := entry.get("tcpSocket"):
        port = port_number(container, tcp["port"])
        return TcpSocket(ports.get(port, port), port)
    if command := (entry.get("exec") or {}).get("command"):
        return Exec(tuple(command))
    raise ConfigError(
        f"container {container['name']}: a probe must be an httpGet, tcpSocket or exec one for the local kubelet"
    )
