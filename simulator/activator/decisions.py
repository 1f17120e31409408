"""What becomes of an invocation, decided from the pool's units alone (contract 9.2): pure functions.

The shell asks `decide` again whenever a unit changed, so nothing here waits. A worker is routable when its unit says
Ready, which includes the sidecar's own readiness; ports do not matter (A5). Failed units are never waited for (A6).
"""

import copy
import hashlib
import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime

from framework.contract import ZERO_TIME
from sidecar.messages import FailureClass, InvocationMessage
from simulator.gpuunit import (
    MAX_UNIT_NAME,
    OPERATION_ID_ANNOTATION,
    UnitSpecError,
    is_ready,
    serverless_of,
)
from simulator.kube.kinds import GPUUNIT, Object

MANAGED_LABEL = "runtime.lokiwager.io/managed"
"""Marks workers that the activator made, so that names need not say it (A8)."""

_NOT_NAME = re.compile(r"[^a-z0-9]+")
_SUFFIX_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send the invocation to this worker now."""

    worker_name: str
    worker_namespace: str


@dataclass(frozen=True, slots=True)
class WaitFor:
    """A worker is on its way; decide again when one of the pool's units changed."""

    unit_name: str


@dataclass(frozen=True, slots=True)
class CreateWorker:
    """Nobody can take the work and nobody is on the way: make a worker like this unit."""

    template: Object


@dataclass(frozen=True, slots=True)
class Fail:
    """Answer the caller with a failure."""

    status_code: int
    failure_class: str
    reason: str


Decision = Dispatch | WaitFor | CreateWorker | Fail


def pool_units(units: Iterable[Object], request_id: str) -> list[Object]:
    """The units that serve a pool, by namespace and name; units with an invalid spec serve none."""
    members = [unit for unit in units if _pool(unit) == request_id and not unit["metadata"].get("deletionTimestamp")]
    return sorted(members, key=lambda unit: (unit["metadata"].get("namespace", ""), unit["metadata"]["name"]))


def _pool(unit: Object) -> str | None:
    try:
        spec = serverless_of(unit)
    except UnitSpecError:
        return None
    return spec.request_id if spec else None


def is_managed(unit: Object) -> bool:
    """Whether the activator made this unit."""
    return MANAGED_LABEL in (unit["metadata"].get("labels") or {})


def decide(request_id: str, units: Iterable[Object], given_up: Set[str] = frozenset()) -> Decision:
    """Decide what to do with an invocation of a pool.

    `given_up` holds the names of units that did not become Ready within the wait; they count as failed.
    """
    members = pool_units(units, request_id)
    if not members:
        reason = f"no unit serves the pool {request_id!r}: create one with this serverless.requestID"
        return Fail(503, FailureClass.NO_WORKER_TEMPLATE, reason)
    for unit in members:
        if is_ready(unit):
            return Dispatch(unit["metadata"]["name"], unit["metadata"]["namespace"])
    for unit in members:
        if unit["metadata"]["name"] not in given_up and _phase(unit) != "Failed":
            return WaitFor(unit["metadata"]["name"])
    stuck = [unit for unit in members if is_managed(unit)]
    if stuck:
        reason = f"no worker of the pool {request_id!r} can run: {_why(stuck[0])}"
        return Fail(503, FailureClass.ACTIVATION_TIMEOUT, reason)
    return CreateWorker(members[0])


def _phase(unit: Object) -> str:
    return str((unit.get("status") or {}).get("phase") or "")


def _why(unit: Object) -> str:
    conditions = (unit.get("status") or {}).get("conditions") or []
    ready: Object = next((condition for condition in conditions if condition.get("type") == "Ready"), {})
    told = f"{ready.get('reason') or 'not Ready in time'}: {ready.get('message') or 'no message'}"
    return f"unit {unit['metadata']['name']}: {told}"


def worker_from(template: Object, invocation_id: str) -> Object:
    """The GPUUnit of a new worker: the template's spec under a name of its own (contract 9.2, names by A8).

    The name is a function of pool and invocation, so a second attempt meets the first one's worker.
    """
    spec = serverless_of(template)
    pool = spec.request_id if spec else ""
    operation_id = f"activate-{invocation_id}"
    suffix = hashlib.sha256(f"{pool}/{operation_id}".encode()).hexdigest()[:_SUFFIX_LENGTH]
    room = MAX_UNIT_NAME - len("unit--worker-") - _SUFFIX_LENGTH
    base = _NOT_NAME.sub("-", pool).strip("-")[:room].strip("-") or "pool"
    return {
        "apiVersion": GPUUNIT.api_version,
        "kind": GPUUNIT.kind,
        "metadata": {
            "name": f"unit-{base}-worker-{suffix}",
            "namespace": template["metadata"]["namespace"],
            "labels": {MANAGED_LABEL: "activator"},
            "annotations": {OPERATION_ID_ANNOTATION: operation_id},
        },
        "spec": copy.deepcopy(template["spec"]),
    }


def expired(invocation: InvocationMessage, now: datetime) -> bool:
    """Whether the invocation's whole budget passed while it was queued (A20); without a budget it never expires."""
    if invocation.timeout_seconds <= 0 or invocation.enqueued_at == ZERO_TIME:
        return False
    return (now - invocation.enqueued_at).total_seconds() >= invocation.timeout_seconds
