"""Rules for the parts of a unit's spec that are lists and names: template, access, storage mounts (contract 4.2)."""

import posixpath
import re
from typing import TypeVar

from simulator.api.request_body import InvalidRequestError
from simulator.api.unit_bodies import AccessBody, EnvBody, PortBody, StorageMountBody, TemplateBody
from simulator.kube.kinds import Object

MAX_PORT_NAME = 15
MAX_SUBDOMAIN = 253

_Value = TypeVar("_Value", str, int)

_ENV_NAME = re.compile(r"[-._A-Za-z][-._A-Za-z0-9]*")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


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
        name = text(body.name).lower()
        if len(name) > MAX_SUBDOMAIN or not _SUBDOMAIN.fullmatch(name):
            raise InvalidRequestError(f"{where}.name", f"{name!r} must be the name of a storage (a DNS name)")
        _unique(name, names, f"{where}.name")
        path = _mount_path(text(body.mount_path), f"{where}.mountPath")
        _unique(path, paths, f"{where}.mountPath")
        mounts.append({"name": name, "mountPath": path})
    return sorted(mounts, key=lambda mount: (mount["name"], mount["mountPath"]))


def _mount_path(path: str, where: str) -> str:
    # POSIX keeps a double leading slash apart; a container's mount does not.
    cleaned = posixpath.normpath("/" + path.lstrip("/"))
    if not path.startswith("/") or cleaned == "/":
        raise InvalidRequestError(where, f"{path!r} must be an absolute path other than /")
    return cleaned


def _envs(bodies: list[EnvBody]) -> list[Object]:
    names: set[str] = set()
    envs = []
    for index, body in enumerate(bodies):
        where = f"template.envs[{index}].name"
        name = text(body.name)
        if not _ENV_NAME.fullmatch(name) or name == "." or name.startswith(".."):
            raise InvalidRequestError(
                where, f"{name!r} must be letters, digits, '-', '_' and '.', and not start with a digit or '..'"
            )
        _unique(name, names, where)
        envs.append({"name": name, "value": body.value} if body.value else {"name": name})
    return envs


def _ports(bodies: list[PortBody]) -> list[Object]:
    names: set[str] = set()
    numbers: set[int] = set()
    ports = []
    for index, body in enumerate(bodies):
        where = f"template.ports[{index}]"
        name = text(body.name)
        if len(name) > MAX_PORT_NAME or not _PORT_NAME.fullmatch(name):
            raise InvalidRequestError(
                f"{where}.name",
                f"{name!r} must be at most {MAX_PORT_NAME} lower-case letters, digits and single inner '-', "
                "with at least one letter",
            )
        _unique(name, names, f"{where}.name")
        number = body.port or 0
        if not 1 <= number <= 65535:
            raise InvalidRequestError(f"{where}.port", "must be between 1 and 65535")
        _unique(number, numbers, f"{where}.port")
        ports.append({"name": name, "port": number, "protocol": text(body.protocol) or "TCP"})
    return ports


def _unique(value: _Value, seen: set[_Value], where: str) -> None:
    if value in seen:
        raise InvalidRequestError(where, f"{value!r} is used twice")
    seen.add(value)
