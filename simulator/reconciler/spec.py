"""The one reading of a GPUUnit's spec from which all its objects and its status are made (contract 4.2, 5.1, 5.2)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

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
from simulator.unit_rules import RuleError, env_name, mount_path, port_name, port_number, storage_name

DEFAULT_IMAGE = "busybox:1.36"
SHM_DIR = "/dev/shm"  # noqa: S108 - the path is part of the contract

_Value = TypeVar("_Value", str, int)


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
    def is_template(self) -> bool:
        """Whether the unit is only the pattern for the workers of its pool, and runs no pod."""
        return self.serverless is not None and self.serverless.template_only

    @property
    def has_service(self) -> bool:
        """Whether the unit's ports are to be reached by others: not those of stock, nor where no pod runs."""
        return bool(self.ports) and not self.is_stock and not self.is_template

    @property
    def access_url(self) -> str:
        """Where the primary port is reached inside the cluster (contract 6.1); empty without one."""
        if self.primary_port is None or not self.has_service:
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
    pairs = tuple((_ruled(env_name, env["name"], "template.envs"), env.get("value") or "") for env in envs)
    _check_unique("template.envs", "name", (name for name, _ in pairs))
    return pairs


def _ports(ports: list[Object]) -> tuple[Port, ...]:
    read = tuple(
        Port(
            _ruled(port_name, port["name"], "template.ports"),
            _ruled(port_number, port["port"], "template.ports"),
            port.get("protocol") or "TCP",
        )
        for port in ports
    )
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
    read = [
        StorageMount(
            _ruled(storage_name, mount["name"], "storageMounts"),
            _ruled(mount_path, mount["mountPath"], "storageMounts"),
        )
        for mount in mounts
    ]
    for mount in read:
        if mount.path in taken:
            raise UnitSpecError("storageMounts", f"mount path {mount.path!r} is taken by the platform; choose another")
    _check_unique("storageMounts", "name", (mount.claim for mount in read))
    _check_unique("storageMounts", "mount path", (mount.path for mount in read))
    return tuple(sorted(read, key=lambda mount: (mount.claim, mount.path)))


def _ruled(rule: Callable[[_Value], _Value], value: _Value, field: str) -> _Value:
    try:
        return rule(value)
    except RuleError as error:
        raise UnitSpecError(field, str(error)) from error


def _check_unique(field: str, what: str, values: Iterable[str | int]) -> None:
    seen: set[str | int] = set()
    for value in values:
        if value in seen:
            raise UnitSpecError(field, f"{what} {value!r} is there twice")
        seen.add(value)
