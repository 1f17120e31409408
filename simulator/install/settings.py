"""What can be chosen about an installation; every mistake in it is found here and not by the cluster."""

import re
from dataclasses import dataclass, field
from typing import Final

from sidecar.concurrency import MAX_CONCURRENCY
from sidecar.stream import StreamSettings
from simulator.errors import UsageError
from simulator.gpuunit import UNIT_NAMESPACES
from simulator.install.names import (
    DEFAULT_IMAGE_PREFIX,
    DEFAULT_NATS_IMAGE,
    DEFAULT_STORAGE,
    DEFAULT_TAG,
    PLATFORM,
)
from simulator.reconciler.quantity import parse_bytes

NODE_PORTS: Final = range(30000, 32768)
"""What clusters hand out unless they are told otherwise."""
_OURS: Final = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_IMAGE_PREFIX = re.compile(r"[a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSettings:
    """Where the platform goes and what runs there.

    Images are `<image_prefix>/platform:<tag>`, `.../sidecar` and `.../echo`. A node port of None leaves the Service to
    the cluster's inside. `storage` is the size of the queue's volume, as Kubernetes writes sizes.

    Raises:
        UsageError: a value is not one that the cluster would accept.
    """

    namespace: str = PLATFORM
    image_prefix: str = DEFAULT_IMAGE_PREFIX
    tag: str = DEFAULT_TAG
    nats_image: str = DEFAULT_NATS_IMAGE
    storage: str = DEFAULT_STORAGE
    storage_class: str | None = None
    api_node_port: int | None = None
    nats_node_port: int | None = None
    max_concurrency: int = 1
    gpu_budget: int | None = None
    stream: StreamSettings = field(default_factory=StreamSettings)

    def __post_init__(self) -> None:
        if not _DNS_LABEL.fullmatch(self.namespace):
            raise UsageError(f"namespace {self.namespace!r} must be a DNS label such as {PLATFORM}")
        if self.namespace in (_OURS | set(UNIT_NAMESPACES)):
            raise UsageError(f"namespace {self.namespace!r} is used for something else; choose one of its own")
        if not _IMAGE_PREFIX.fullmatch(self.image_prefix):
            raise UsageError(f"image prefix {self.image_prefix!r} must look like registry.example:5000/team")
        if not _TAG.fullmatch(self.tag):
            raise UsageError(f"image tag {self.tag!r} must be letters, digits, '_', '.' or '-', such as 0.1.0")
        if not _IMAGE.fullmatch(self.nats_image):
            raise UsageError(f"NATS image {self.nats_image!r} must look like {DEFAULT_NATS_IMAGE}")
        if self.storage_class is not None and not _DNS_NAME.fullmatch(self.storage_class):
            raise UsageError(f"storage class {self.storage_class!r} must be one that 'kubectl get storageclass' lists")
        self._check_numbers()

    def _check_numbers(self) -> None:
        try:
            size = parse_bytes(self.storage)
        except ValueError as error:
            raise UsageError(f"storage {self.storage!r} must be a size such as 1Gi") from error
        if size <= 0:
            raise UsageError(f"storage {self.storage!r} must be more than nothing, such as 1Gi")
        for port in (self.api_node_port, self.nats_node_port):
            if port is not None and port not in NODE_PORTS:
                raise UsageError(f"node port {port} must be between {NODE_PORTS.start} and {NODE_PORTS.stop - 1}")
        if self.api_node_port is not None and self.api_node_port == self.nats_node_port:
            raise UsageError(f"API and queue cannot both have node port {self.api_node_port}")
        if not 1 <= self.max_concurrency <= MAX_CONCURRENCY:
            raise UsageError(f"max concurrency {self.max_concurrency} must be between 1 and {MAX_CONCURRENCY}")
        if self.gpu_budget is not None and self.gpu_budget < 0:
            raise UsageError(f"GPU budget {self.gpu_budget} must not be negative")

    def image(self, name: str) -> str:
        """Name of one of the platform's own images: `platform`, `sidecar` or `echo`."""
        return f"{self.image_prefix}/{name}:{self.tag}"
