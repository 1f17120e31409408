"""What the reconciler is told once, at start; every mistake in it is found here and not at the first unit (C6)."""

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.subjects import DEFAULT_PREFIX, DEFAULT_STREAM, SubjectError, normalise_name, normalise_prefix
from simulator.errors import UsageError
from simulator.reconciler.queue_url import QueueHost, QueueUrlError, queue_hosts

DEFAULT_SIDECAR_IMAGE = "ghcr.io/lokiwager/gpu-runtime-serverless-sidecar:latest"
DEFAULT_BLOCKED_CIDRS = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
SHORTEST_HEARTBEAT_S = 0.001

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL_TEXT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_MAX_SUBDOMAIN = 253


@dataclass(frozen=True, slots=True)
class NetworkPolicyTarget:
    """The pods of the queue, as a unit's egress rule names them (contract 6.4).

    `namespace` may be empty when the queue's host names it (`nats.<namespace>.svc`).

    Raises:
        UsageError: the namespace, a label key or a label value is not one that Kubernetes accepts.
    """

    namespace: str = ""
    pod_labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        namespace = self.namespace.strip()
        if namespace and not _DNS_LABEL.fullmatch(namespace):
            raise UsageError(f"network policy target: namespace {namespace!r} must be a DNS label such as messaging")
        labels = {key.strip(): value.strip() for key, value in self.pod_labels.items()}
        for key, value in labels.items():
            _check_label(key, value)
        object.__setattr__(self, "namespace", namespace)
        object.__setattr__(self, "pod_labels", labels)


def _check_label(key: str, value: str) -> None:
    prefix, slash, name = key.rpartition("/")
    prefix_ok = not slash or (len(prefix) <= _MAX_SUBDOMAIN and _DNS_SUBDOMAIN.fullmatch(prefix))
    if not prefix_ok or not _LABEL_TEXT.fullmatch(name):
        raise UsageError(
            f"network policy target: pod label key {key!r} must be a qualified name such as app or a.io/app"
        )
    if value and not _LABEL_TEXT.fullmatch(value):
        raise UsageError(
            f"network policy target: value {value!r} of pod label {key!r} must be at most 63 letters, digits, "
            "'-', '_' or '.', with a letter or digit at both ends"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilerSettings:
    """Settings of the reconciler (contract 6.3 and 6.4).

    `nats_url` is what sidecars connect to; empty means that there is no queue and a serverless unit fails. Times are
    seconds. `dispatch_max_deliver`, `dispatch_backoff_s` and `max_concurrency` reach the sidecars only when given.
    `worker_credentials` says that each worker has a Secret with queue credentials of its own (S22, S23): no pod starts
    without it.

    Raises:
        UsageError: a value is out of range, or the queue is in the cluster and `network_policy_target` does not say
            which pods it is, so that no unit could ever reach it (C6, C7).
    """

    nats_url: str = ""
    subject_prefix: str = DEFAULT_PREFIX
    stream_name: str = DEFAULT_STREAM
    sidecar_image: str = DEFAULT_SIDECAR_IMAGE
    heartbeat_interval_s: float = 15
    health_port: int = 8091
    network_policy_target: NetworkPolicyTarget | None = None
    blocked_cidrs: tuple[str, ...] = DEFAULT_BLOCKED_CIDRS
    dispatch_max_deliver: int | None = None
    dispatch_backoff_s: tuple[float, ...] = ()
    max_concurrency: int | None = None
    worker_credentials: bool = False

    def __post_init__(self) -> None:
        try:
            prefix = normalise_prefix(self.subject_prefix)
            stream = normalise_name(self.stream_name, DEFAULT_STREAM, "stream name")
            hosts = queue_hosts(self.nats_url)
        except (SubjectError, QueueUrlError) as error:
            raise UsageError(f"reconciler settings: {error}") from error
        object.__setattr__(self, "nats_url", self.nats_url.strip())
        object.__setattr__(self, "subject_prefix", prefix)
        object.__setattr__(self, "stream_name", stream)
        object.__setattr__(self, "sidecar_image", self.sidecar_image.strip() or DEFAULT_SIDECAR_IMAGE)
        object.__setattr__(self, "blocked_cidrs", _sorted_cidrs(self.blocked_cidrs))
        self._check_sidecar()
        self._check_retry()
        for host in hosts:
            self._check_target(host)

    def _check_sidecar(self) -> None:
        if not 1 <= self.health_port <= 65535:
            raise UsageError(f"reconciler settings: health port {self.health_port} must be between 1 and 65535")
        if not math.isfinite(self.heartbeat_interval_s) or self.heartbeat_interval_s < SHORTEST_HEARTBEAT_S:
            raise UsageError(
                f"reconciler settings: heartbeat interval {self.heartbeat_interval_s} s must be at least "
                f"{SHORTEST_HEARTBEAT_S} s"
            )
        if self.max_concurrency is not None and self.max_concurrency < 1:
            raise UsageError(f"reconciler settings: max concurrency {self.max_concurrency} must be 1 or more")

    def _check_retry(self) -> None:
        if self.dispatch_max_deliver is not None and self.dispatch_max_deliver < 1:
            raise UsageError(f"reconciler settings: dispatch max deliver {self.dispatch_max_deliver} must be 1 or more")
        if not all(math.isfinite(delay) and delay > 0 for delay in self.dispatch_backoff_s):
            raise UsageError("reconciler settings: each dispatch back-off must be more than 0 seconds")
        if self.dispatch_max_deliver is not None and len(self.dispatch_backoff_s) > self.dispatch_max_deliver:
            raise UsageError(
                f"reconciler settings: {len(self.dispatch_backoff_s)} dispatch back-offs are more than "
                f"the {self.dispatch_max_deliver} deliveries"
            )

    def _check_target(self, host: QueueHost) -> None:
        target = self.network_policy_target or NetworkPolicyTarget()
        if host.address is not None or host.is_loopback:
            return
        if target.pod_labels and not (target.namespace or host.namespace):
            raise UsageError(
                f"reconciler settings: the network policy target needs a namespace, as the queue's host {host.name!r} "
                "does not name one"
            )
        if host.is_in_cluster and not target.pod_labels:
            raise UsageError(
                f"reconciler settings: the queue's host {host.name!r} is in the cluster; set the network policy target "
                "to the labels of its pods, or no unit may reach it"
            )


def _sorted_cidrs(cidrs: tuple[str, ...]) -> tuple[str, ...]:
    try:
        networks = {ipaddress.ip_network(cidr.strip()) for cidr in cidrs}
    except ValueError as error:
        raise UsageError(f"reconciler settings: blocked range {error}; write it as 10.0.0.0/8") from error
    return tuple(str(network) for network in sorted(networks, key=lambda network: (network.version, int(network[0]))))
