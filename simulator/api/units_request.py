"""Rules for the bodies that create and change a unit (contract 4.2): validation and normalisation, no I/O.

A normalised request is the unit's future `spec`, with defaults filled in and empty fields left out. Normalising it
again changes nothing, so equal requests in other words have equal hashes.
"""

import hashlib
import re
from dataclasses import dataclass, field

import msgspec

from simulator.api.request_body import InvalidRequestError, decode_body
from simulator.api.template_rules import normalise_access, normalise_mounts, normalise_template, text
from simulator.api.unit_bodies import AccessBody, CreateBody, ServerlessBody, SshBody, UpdateBody
from simulator.gpuunit import check_unit_name, resolve_serverless
from simulator.kube.kinds import Object

MAX_INT32 = 2**31 - 1

_QUANTITY = re.compile(r"(\d+(\.\d*)?|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class UnitCreate:
    """A valid create request. `spec` is the GPUUnit's; `request_hash` identifies the content of the request."""

    operation_id: str
    name: str
    spec: Object

    @property
    def request_hash(self) -> str:
        """SHA-256, in hex, of the normalised request as canonical JSON."""
        request = {"operationID": self.operation_id, "name": self.name, "spec": self.spec}
        return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()


@dataclass(frozen=True, slots=True)
class UnitUpdate:
    """A valid change request. Empty `image`, `template` and `access`, and None, keep what the unit has."""

    image: str = ""
    template: Object = field(default_factory=dict)
    access: AccessBody | None = None
    serverless: Object | None = None
    storage_mounts: list[Object] | None = None
    reset_ssh: bool = False


def parse_create(body: bytes) -> UnitCreate:
    """Read the body of a create request.

    Raises:
        InvalidRequestError, UnitSpecError: a field is missing or wrong; the message starts with its path.
    """
    request = decode_body(body, CreateBody)
    operation_id = _required(request.operation_id, "operationID")
    name = check_unit_name(text(request.name))
    spec_name = _required(request.spec_name, "specName")
    image = _required(request.image, "image")
    template = normalise_template(request.template)
    _reject_ssh(request.ssh)
    spec = {
        "specName": spec_name,
        "packageID": text(request.package_id),
        "image": image,
        "cpu": _quantity(request.cpu, "cpu"),
        "memory": _quantity(request.memory, "memory"),
        "gpu": _gpu(request.gpu),
        "template": template,
        "access": normalise_access(request.access, template),
        "serverless": _serverless(request.serverless),
        "storageMounts": normalise_mounts(request.storage_mounts or []),
    }
    return UnitCreate(operation_id, name, _without_empty(spec))


def parse_update(body: bytes) -> UnitUpdate:
    """Read the body of a change request, as far as it can be judged without the unit.

    Raises:
        InvalidRequestError, UnitSpecError: a field is wrong; the message starts with its path.
    """
    request = decode_body(body, UpdateBody)
    _reject_ssh(request.ssh)
    return UnitUpdate(
        image=text(request.image),
        template=normalise_template(request.template),
        access=request.access,
        serverless=None if request.serverless is None else _serverless(request.serverless),
        storage_mounts=None if request.storage_mounts is None else normalise_mounts(request.storage_mounts),
        reset_ssh=request.ssh is not None,
    )


def updated_spec(spec: Object, update: UnitUpdate) -> Object:
    """Return the spec that `update` asks for; equal to `spec` when it changes nothing.

    Raises:
        InvalidRequestError: `access` does not fit the ports.
    """
    template = update.template or spec.get("template") or {}
    changed = {
        "image": update.image,
        "template": update.template,
        "access": _updated_access(spec, update, template),
    }
    result = {**spec, **_without_empty(changed)}
    if update.template and not changed["access"]:
        result.pop("access", None)
    if update.reset_ssh:
        result.pop("ssh", None)
    for name, block in (("serverless", update.serverless), ("storageMounts", update.storage_mounts)):
        if block:
            result[name] = block
        elif block is not None:
            result.pop(name, None)
    return result


def _updated_access(spec: Object, update: UnitUpdate, template: Object) -> Object:
    """The access block after an update; empty where the unit keeps its own untouched."""
    if update.access is not None and (text(update.access.primary_port) or text(update.access.scheme)):
        return normalise_access(update.access, template)
    if not update.template:
        return {}
    old: Object = spec.get("access") or {}
    names = [port["name"] for port in template.get("ports", [])]
    return old if old.get("primaryPort") in names else normalise_access(None, template)


def _required(value: str | None, path: str) -> str:
    stripped = text(value)
    if not stripped:
        raise InvalidRequestError(path, "is required")
    return stripped


def _quantity(value: str | None, path: str) -> str:
    stripped = text(value)
    if stripped and not _QUANTITY.fullmatch(stripped):
        raise InvalidRequestError(path, f"{stripped!r} is not a quantity such as 500m, 2 or 8Gi")
    return stripped


def _gpu(value: int | None) -> int:
    count = value or 0
    if not 0 <= count <= MAX_INT32:
        raise InvalidRequestError("gpu", f"must be between 0 and {MAX_INT32}")
    return count


def _reject_ssh(ssh: SshBody | None) -> None:
    if ssh is not None and ssh.enabled:
        raise InvalidRequestError("ssh.enabled", "SSH into units is not simulated; leave it out or set it to false")


def _serverless(body: ServerlessBody | None) -> Object:
    resolved = resolve_serverless(msgspec.to_builtins(body))
    return resolved.to_json() if resolved else {}


def _without_empty(block: Object) -> Object:
    return {name: value for name, value in block.items() if value}
