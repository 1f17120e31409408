"""What a GPUUnit means: its names, labels and the one reading of `spec.serverless` (contract 5.2, 6.1; C4, C5, C11).

The API, the reconciler, the activator and the CLI all ask this module, so there is one notion of "serverless" and one
form of every path.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from framework.contract import (
    DEFAULT_HEALTH_PATH,
    DEFAULT_INVOKE_PATH,
    ContractError,
    clean_http_path,
    clean_socket_path,
)
from sidecar.subjects import SubjectError, normalise_request_id
from simulator.kube.kinds import GPUUNIT, Object

ACTIVE_NAMESPACE = "runtime-instance"
STOCK_NAMESPACE = "runtime-stock"
UNIT_NAMESPACES = (ACTIVE_NAMESPACE, STOCK_NAMESPACE)
RUNTIME_CONTAINER = "runtime-worker"
SIDECAR_CONTAINER = "serverless-sidecar"
UNIT_LABEL = "runtime.lokiwager.io/unit"
OPERATION_ID_ANNOTATION = "runtime.lokiwager.io/operation-id"
REQUEST_HASH_ANNOTATION = "runtime.lokiwager.io/request-hash"
DRAINING_ANNOTATION = "runtime.lokiwager.io/draining"
"""Its value is the time, as RFC 3339, at which a unit was given its last work: it goes when that is done."""

MANAGED_LABEL = "runtime.lokiwager.io/managed"
"""Marks workers that the activator made, so that names need not say it (A8), and no name makes a template (A7)."""

MANAGED_LABELS = {
    "app.kubernetes.io/name": "gpu-runtime-unit",
    "app.kubernetes.io/managed-by": "gpu-runtime-operator",
}
"""What marks every object that is made for any unit (contract 6.1)."""

DEFAULT_IDLE_TIMEOUT_S = 300
DEFAULT_MAX_ATTEMPTS = 3
MAX_UNIT_NAME = 50
"""Leaves room for `unit-`, `egress-` and pod suffixes within a DNS label's 63 characters (C11)."""

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class UnitSpecError(ValueError):
    """A field of a unit's spec is wrong; `field` is its path, such as `serverless.requestID`."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class OnWorkerLoss(StrEnum):
    """What becomes of an invocation that may have run when its worker was lost: it runs again, or it fails."""

    RETRY = "retry"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class ServerlessSpec:
    """A unit's resolved `spec.serverless`. `request_id` is the pool; times are seconds.

    `max_available_count` of 0 is no limit. `template_only` makes the unit a pattern for workers and no worker itself.
    `max_attempts` is how often an invocation may run at most where `on_worker_loss` is `retry`.
    """

    request_id: str
    min_available_count: int
    idle_timeout_s: int
    min_request_count: int
    socket_path: str
    invoke_path: str
    health_path: str
    max_available_count: int = 0
    template_only: bool = False
    on_worker_loss: OnWorkerLoss = OnWorkerLoss.RETRY
    max_attempts: int = DEFAULT_MAX_ATTEMPTS

    def to_json(self) -> dict[str, Any]:
        """The block as the API stores it: defaults of contract 5.2 filled in; of our own fields only what differs."""
        optional = {
            "minAvailableCount": self.min_available_count,
            "idleTimeoutSeconds": self.idle_timeout_s,
            "minRequestCount": self.min_request_count,
            "maxAvailableCount": self.max_available_count,
            "templateOnly": self.template_only,
            "onWorkerLoss": "" if self.on_worker_loss is OnWorkerLoss.RETRY else self.on_worker_loss.value,
            "maxAttempts": 0 if self.max_attempts == DEFAULT_MAX_ATTEMPTS else self.max_attempts,
        }
        return {
            "enabled": True,
            "requestID": self.request_id,
            **{name: value for name, value in optional.items() if value},
            "framework": {
                "socketPath": self.socket_path,
                "invokePath": self.invoke_path,
                "healthPath": self.health_path,
            },
        }


def _count(block: Mapping[str, Any], name: str) -> int:
    value = block.get(name) or 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnitSpecError(f"serverless.{name}", "must be a whole number")
    if not 0 <= value <= 2**31 - 1:
        raise UnitSpecError(f"serverless.{name}", "must be between 0 and 2147483647")
    return value


def _flag(block: Mapping[str, Any], name: str) -> bool:
    value = block.get(name) or False
    if not isinstance(value, bool):
        raise UnitSpecError(f"serverless.{name}", "must be true or false")
    return value


def _on_worker_loss(block: Mapping[str, Any]) -> OnWorkerLoss:
    value = _text(block, "onWorkerLoss", "serverless")
    try:
        return OnWorkerLoss(value or OnWorkerLoss.RETRY)
    except ValueError as error:
        raise UnitSpecError("serverless.onWorkerLoss", f"{value!r} must be {' or '.join(OnWorkerLoss)}") from error


def _max_available_count(block: Mapping[str, Any], min_available_count: int) -> int:
    most = _count(block, "maxAvailableCount")
    if 0 < most < min_available_count:
        raise UnitSpecError("serverless.maxAvailableCount", "must not be below minAvailableCount")
    return most


def _text(block: Mapping[str, Any], name: str, path: str) -> str:
    value = block.get(name) or ""
    if not isinstance(value, str):
        raise UnitSpecError(f"{path}.{name}", "must be text")
    return value.strip()


def resolve_serverless(block: Mapping[str, Any] | None) -> ServerlessSpec | None:
    """Return the resolved serverless block, or None when the unit is not serverless (contract 5.2).

    A unit is serverless when `enabled` is set, a request ID is given, or one of the contract's three numbers is above
    0. The fields that the contract does not know make no unit serverless; without one of those they say nothing.

    Raises:
        UnitSpecError: the unit is serverless and a field is missing or wrong.
    """
    block = block or {}
    numbers = {name: _count(block, name) for name in ("minAvailableCount", "idleTimeoutSeconds", "minRequestCount")}
    request_id = _text(block, "requestID", "serverless")
    if not (block.get("enabled") or request_id or any(numbers.values())):
        return None
    if not request_id:
        raise UnitSpecError("serverless.requestID", "is required when serverless is enabled")
    try:
        pool = normalise_request_id(request_id)
    except SubjectError as error:
        raise UnitSpecError("serverless.requestID", str(error)) from error
    socket_path, invoke_path, health_path = _framework_paths(block.get("framework") or {})
    return ServerlessSpec(
        request_id=pool,
        min_available_count=numbers["minAvailableCount"],
        idle_timeout_s=numbers["idleTimeoutSeconds"] or DEFAULT_IDLE_TIMEOUT_S,
        min_request_count=numbers["minRequestCount"],
        socket_path=socket_path,
        invoke_path=invoke_path,
        health_path=health_path,
        max_available_count=_max_available_count(block, numbers["minAvailableCount"]),
        template_only=_flag(block, "templateOnly"),
        on_worker_loss=_on_worker_loss(block),
        max_attempts=_count(block, "maxAttempts") or DEFAULT_MAX_ATTEMPTS,
    )


def _framework_paths(framework: Any) -> tuple[str, str, str]:
    path = "serverless.framework"
    if not isinstance(framework, Mapping):
        raise UnitSpecError(path, "must be an object")
    field = "socketPath"
    try:
        socket_path = clean_socket_path(_text(framework, field, path))
        field = "invokePath"
        invoke_path = clean_http_path(_text(framework, field, path), DEFAULT_INVOKE_PATH)
        field = "healthPath"
        health_path = clean_http_path(_text(framework, field, path), DEFAULT_HEALTH_PATH)
    except ContractError as error:
        raise UnitSpecError(f"{path}.{field}", str(error)) from error
    if invoke_path == health_path:
        raise UnitSpecError(f"{path}.healthPath", f"must differ from invokePath ({invoke_path})")
    return socket_path, invoke_path, health_path


def serverless_of(unit: Object) -> ServerlessSpec | None:
    """`resolve_serverless` of a GPUUnit object; raises the same."""
    return resolve_serverless(unit.get("spec", {}).get("serverless"))


def check_unit_name(name: str) -> str:
    """Return the name stripped and lower-cased (contract 4.2, stricter by S25 and C11).

    Raises:
        UnitSpecError: it is no DNS label, or longer than `MAX_UNIT_NAME`.
    """
    cleaned = name.strip().lower()
    if not cleaned:
        raise UnitSpecError("name", "is required")
    if len(cleaned) > MAX_UNIT_NAME or not _DNS_LABEL.fullmatch(cleaned):
        raise UnitSpecError(
            "name",
            f"{name!r} must be letters, digits and '-', start and end with a letter or digit, "
            f"and have at most {MAX_UNIT_NAME} characters",
        )
    return cleaned


def service_name(unit_name: str) -> str:
    """Name of a unit's Service (contract 6.1)."""
    return f"unit-{unit_name}"[:63].rstrip("-")


def network_policy_name(unit_name: str) -> str:
    """Name of a unit's NetworkPolicy (contract 6.1)."""
    return f"egress-{unit_name}"[:63].rstrip("-")


def deployment_name(unit_name: str) -> str:
    """Name of a unit's Deployment: that of the unit."""
    return unit_name


def owner_reference(unit: Object) -> Object:
    """What makes the unit the controller of an object: it goes when the unit goes."""
    return {
        "apiVersion": GPUUNIT.api_version,
        "kind": GPUUNIT.kind,
        "name": unit["metadata"]["name"],
        "uid": unit["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def object_labels(unit_name: str) -> dict[str, str]:
    """Labels of every object made for a unit, and of its pods (contract 6.1)."""
    return {**MANAGED_LABELS, UNIT_LABEL: unit_name}


def is_stock(unit: Object) -> bool:
    """Whether the unit only reserves capacity: units of the stock namespace run no worker (contract 5.3, 6.1)."""
    return bool(unit["metadata"]["namespace"] == STOCK_NAMESPACE)


def is_ready(unit: Object) -> bool:
    """Whether the unit's own status says that it can take work now."""
    status = unit.get("status") or {}
    return status.get("phase") == "Ready" and not unit["metadata"].get("deletionTimestamp")


def is_draining(unit: Object) -> bool:
    """Whether the unit takes no new work because it goes soon; its pod keeps running until it is deleted (A11)."""
    return DRAINING_ANNOTATION in (unit["metadata"].get("annotations") or {})


def phase_of(unit: Object) -> str:
    """What the status says of the unit in a word, "" while it has none (contract 5.3)."""
    return str((unit.get("status") or {}).get("phase") or "")
