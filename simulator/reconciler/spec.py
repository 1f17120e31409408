"""The one reading of a GPUUnit's spec from which all its objects and its status are made (contract 4.2, 5.1, 5.2)."""

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from framework.contract import SOCKET_DIR
from simulator.gpuunit import (
    ServerlessSpec,
    UnitSpecError,
    check_unit_name,
    is_stock,
    serverless_of,
    service_name,
)
from simulator.kube.kinds import Object
from simulator.reconciler.quantity import QuantityError, parse_bytes

DEFAULT_IMAGE = "busybox:1.36"
SHM_DIR = "/dev/shm"  # noqa: S108 - the path is part of the contract
MAX_PORT_NAME = 15

_ENV_NAME = re.compile(r"(?!\.$|\.\.)[-._A-Za-z][-._A-Za-z0-9]*")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Port:
    """A port that the user's program listens on."""

    name: str
    number: int
    protocol: str


@dataclass(frozen=True, slots=True)
class StorageMount:
    """A volume claim of the unit's namespace and where the user's program sees it."""

    claim: str
    path: str


@dataclass(frozen=True, slots=True)
class UnitSpec:
    """A checked unit. `memory` is a quantity, empty for none; `serverless` is None for a plain or a stock unit."""

    name: str
    namespace: str
    spec_name: str
    image: str
    memory: str
    gpu: int
    command: tuple[str, ...]
    args: tuple[str, ...]
    envs: tuple[tuple[str, str], ...]
    ports: tuple[Port, ...]
    primary_port: Port | None
    scheme: str
    storage_mounts: tuple[StorageMount, ...]
    serverless: ServerlessSpec | None
    is_stock: bool

    @property
    def access_url(self) -> str:
        """Where the primary port is reached inside the cluster (contract 6.1); empty without one."""
        if self.primary_port is None or self.is_stock:
            return ""
        host = f"{service_name(self.name)}.{self.namespace}.svc.cluster.local"
        return f"{self.scheme}://{host}:{self.primary_port.number}"


def read_unit(unit: Object) -> UnitSpec:
    """Return the checked spec of a GPUUnit.

    Raises:
        UnitSpecError: a field is wrong; `field` names it.
    """
    metadata, spec = unit["metadata"], unit.get("spec", {})
    if (spec.get("ssh") or {}).get("enabled"):
        raise UnitSpecError("ssh.enabled", "SSH access is not offered here; remove the ssh block")
    template = spec.get("template") or {}
    ports = _ports(template.get("ports") or [])
    access = spec.get("access") or {}
    serverless = None if is_stock(unit) else serverless_of(unit)
    memory = _memory(spec)
    return UnitSpec(
        name=check_unit_name(metadata["name"]),
        namespace=metadata["namespace"],
        spec_name=_required(spec, "specName"),
        image=(spec.get("image") or "").strip() or DEFAULT_IMAGE,
        memory=memory,
        gpu=_gpu(spec),
        command=tuple(template.get("command") or ()),
        args=tuple(template.get("args") or ()),
        envs=_envs(template.get("envs") or []),
        ports=ports,
        primary_port=_primary_port(access, ports),
        scheme=(access.get("scheme") or "").strip().lower() or "http",
        storage_mounts=_storage_mounts(spec.get("storageMounts") or [], _taken_paths(memory, serverless)),
        serverless=serverless,
        is_stock=is_stock(unit),
    )


def _required(spec: Object, name: str) -> str:
    value = (spec.get(name) or "").strip()
    if not value:
        raise UnitSpecError(name, "is required")
    return str(value)


def _memory(spec: Object) -> str:
    memory = str(spec.get("memory") or "").strip()
    if not memory:
        return ""
    try:
        count = parse_bytes(memory)
    except QuantityError as error:
        raise UnitSpecError("memory", str(error)) from error
    if count < 0:
        raise UnitSpecError("memory", "must not be negative")
    return memory if count else ""


def _gpu(spec: Object) -> int:
    gpu = spec.get("gpu") or 0
    if gpu < 0:
        raise UnitSpecError("gpu", "must be 0 or more")
    return int(gpu)


def _envs(envs: list[Object]) -> tuple[tuple[str, str], ...]:
    pairs = tuple((env["name"].strip(), env.get("value") or "") for env in envs)
    for name, _ in pairs:
        if not _ENV_NAME.fullmatch(name):
            raise UnitSpecError("template.envs", f"{name!r} is no name of an environment variable")
    _check_unique("template.envs", "name", (name for name, _ in pairs))
    return pairs


def _ports(ports: list[Object]) -> tuple[Port, ...]:
    read = tuple(Port(port["name"].strip(), port["port"], port.get("protocol") or "TCP") for port in ports)
    for port in read:
        if len(port.name) > MAX_PORT_NAME or not _PORT_NAME.fullmatch(port.name):
            raise UnitSpecError(
                "template.ports",
                f"{port.name!r} must be at most {MAX_PORT_NAME} lower-case letters, digits and single '-', "
                "with at least one letter",
            )
        if not 1 <= port.number <= 65535:
            raise UnitSpecError("template.ports", f"port {port.number} must be between 1 and 65535")
    _check_unique("template.ports", "name", (port.name for port in read))
    _check_unique("template.ports", "port", (port.number for port in read))
    return read


def _primary_port(access: Object, ports: tuple[Port, ...]) -> Port | None:
    wanted = (access.get("primaryPort") or "").strip()
    if not wanted:
        return ports[0] if ports else None
    for port in ports:
        if port.name == wanted:
            return port
    names = ", ".join(port.name for port in ports) or "none"
    raise UnitSpecError("access.primaryPort", f"{wanted!r} is no port of template.ports (there: {names})")


def _taken_paths(memory: str, serverless: ServerlessSpec | None) -> frozenset[str]:
    """Where the platform itself mounts something."""
    return frozenset(([SHM_DIR] if memory else []) + ([SOCKET_DIR] if serverless else []))


def _storage_mounts(mounts: list[Object], taken: frozenset[str]) -> tuple[StorageMount, ...]:
    read = [StorageMount(mount["name"].strip().lower(), mount["mountPath"].strip()) for mount in mounts]
    for mount in read:
        if not _DNS_SUBDOMAIN.fullmatch(mount.claim):
            raise UnitSpecError("storageMounts", f"{mount.claim!r} is no name of a storage")
        if not mount.path.startswith("/"):
            raise UnitSpecError("storageMounts", f"mount path {mount.path!r} must be absolute")
    cleaned = [StorageMount(mount.claim, posixpath.normpath("/" + mount.path.lstrip("/"))) for mount in read]
    for mount in cleaned:
        if mount.path == "/" or mount.path in taken:
            raise UnitSpecError("storageMounts", f"mount path {mount.path!r} is taken by the platform; choose another")
    _check_unique("storageMounts", "name", (mount.claim for mount in cleaned))
    _check_unique("storageMounts", "mount path", (mount.path for mount in cleaned))
    return tuple(sorted(cleaned, key=lambda mount: (mount.claim, mount.path)))


def _check_unique(field: str, what: str, values: Iterable[str | int]) -> None:
    seen: set[str | int] = set()
    for value in values:
        if value in seen:
            raise UnitSpecError(field, f"{what} {value!r} is there twice")
        seen.add(value)
