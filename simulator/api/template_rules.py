"""Rules for the parts of a unit's spec that are lists and names: template, access, storage mounts (contract 4.2)."""

from collections.abc import Callable
from typing import TypeVar

from simulator.api.request_body import InvalidRequestError
from simulator.api.unit_bodies import AccessBody, EnvBody, PortBody, StorageMountBody, TemplateBody
from simulator.kube.kinds import Object
from simulator.unit_rules import RuleError, env_name, mount_path, port_name, port_number, storage_name

_Value = TypeVar("_Value", str, int)


def text(value: str | None) -> str:
    """The value without surrounding white space; empty when it is absent."""
    return (value or "").strip()


def normalise_template(body: TemplateBody | None) -> Object:
    """Return the template with empty parts left out, so that an empty one is `{}`.

    Raises:
        InvalidRequestError: an environment variable or a port is wrong.
    """
    if body is None:
        return {}
    parts = {
        "command": body.command,
        "args": body.args,
        "envs": _envs(body.envs or []),
        "ports": _ports(body.ports or []),
    }
    return {name: part for name, part in parts.items() if part}


def normalise_access(body: AccessBody | None, template: Object) -> Object:
    """Return the access block that fits the template's ports: by default the first port, over http.

    Raises:
        InvalidRequestError: the primary port is not among the ports, or there are none.
    """
    primary = text(body.primary_port) if body else ""
    scheme = text(body.scheme).lower() if body else ""
    names = [port["name"] for port in template.get("ports") or []]
    if not names:
        if primary or scheme:
            raise InvalidRequestError("access", "needs at least one port in template.ports")
        return {}
    if primary and primary not in names:
        raise InvalidRequestError("access.primaryPort", f"{primary!r} is not in template.ports ({', '.join(names)})")
    return {"primaryPort": primary or names[0], "scheme": scheme or "http"}


def normalise_mounts(bodies: list[StorageMountBody]) -> list[Object]:
    """Return the storage mounts sorted by name, then path.

    Raises:
        InvalidRequestError: a name or path is wrong or used twice.
    """
    names: set[str] = set()
    paths: set[str] = set()
    mounts = []
    for index, body in enumerate(bodies):
        where = f"storageMounts[{index}]"
        name = _ruled(storage_name, body.name or "", f"{where}.name")
        _unique(name, names, f"{where}.name")
        path = _ruled(mount_path, body.mount_path or "", f"{where}.mountPath")
        _unique(path, paths, f"{where}.mountPath")
        mounts.append({"name": name, "mountPath": path})
    return sorted(mounts, key=lambda mount: (mount["name"], mount["mountPath"]))


def _envs(bodies: list[EnvBody]) -> list[Object]:
    names: set[str] = set()
    envs = []
    for index, body in enumerate(bodies):
        where = f"template.envs[{index}].name"
        name = _ruled(env_name, body.name or "", where)
        _unique(name, names, where)
        envs.append({"name": name, "value": body.value} if body.value else {"name": name})
    return envs


def _ports(bodies: list[PortBody]) -> list[Object]:
    names: set[str] = set()
    numbers: set[int] = set()
    ports = []
    for index, body in enumerate(bodies):
        where = f"template.ports[{index}]"
        name = _ruled(port_name, body.name or "", f"{where}.name")
        _unique(name, names, f"{where}.name")
        number = _ruled(port_number, body.port or 0, f"{where}.port")
        _unique(number, numbers, f"{where}.port")
        ports.append({"name": name, "port": number, "protocol": text(body.protocol) or "TCP"})
    return ports


def _ruled(rule: Callable[[_Value], _Value], value: _Value, where: str) -> _Value:
    try:
        return rule(value)
    except RuleError as error:
        raise InvalidRequestError(where, str(error)) from error


def _unique(value: _Value, seen: set[_Value], where: str) -> None:
    if value in seen:
        raise InvalidRequestError(where, f"{value!r} is used twice")
    seen.add(value)
