"""A unit's status, from its spec and from what was observed (contract 5.3): pure functions that change no argument.

`Ready` means that a pod is available and ready. That is more than "processes were started": the sidecar's readiness
probe asks for framework, queue and consumer, and a pod is ready only when all its containers are (C1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sidecar.subjects import Subjects
from simulator.gpuunit import ServerlessSpec, UnitSpecError, is_stock, serverless_of, service_name
from simulator.kube.kinds import Object
from simulator.kube.timestamps import format_time
from simulator.reconciler.advice import failure_advice, obstacle_advice
from simulator.reconciler.conditions import READY, SERVERLESS_READY, Condition, stamped
from simulator.reconciler.observed import (
    Failure,
    Obstacle,
    available_replicas,
    current_pods,
    find_failure,
    find_obstacle,
    find_sidecar_failure,
    only_sidecar_unready,
)
from simulator.reconciler.settings import ReconcilerSettings
from simulator.reconciler.spec import UnitSpec, read_unit

SERVICE_SYNC_FAILED = "UnitServiceSyncFailed"
NETWORK_POLICY_SYNC_FAILED = "UnitNetworkPolicySyncFailed"
DEPLOYMENT_SYNC_FAILED = "UnitDeploymentSyncFailed"

WAITING_FOR_POD = "waiting for a pod to become available"
WAITING_FOR_SIDECAR = "waiting for the sidecar, which registers when the framework is healthy and the queue is there"

_SPEC_REASONS = {
    "storageMounts": "StorageMountInvalid",
    "ssh": "SSHConfigInvalid",
    "serverless": "ServerlessConfigInvalid",
    "access": "AccessConfigInvalid",
}
_STOCK_REASONS = {"UnitReady": "StockReady", "UnitProgressing": "StockNotReady", "StorageNotReady": "StockNotReady"}


@dataclass(frozen=True, slots=True)
class _Outcome:
    phase: str
    is_true: bool
    reason: str
    message: str

    def condition(self, condition_type: str) -> Condition:
        return Condition(condition_type, self.is_true, self.reason, self.message)


def status_for(
    unit: Object, deployment: Object | None, pods: Sequence[Object], settings: ReconcilerSettings, now: datetime
) -> Object:
    """Return the status of a unit whose objects were written.

    `deployment` and `pods` are what was last observed of them, `now` the time for whatever changed.

    Raises:
        UnitSpecError: the spec is wrong; `failure_status` is for that.
    """
    spec = read_unit(unit)
    counted = current_pods(pods)
    available = available_replicas(deployment, counted)
    ready = _unit_outcome(spec, available, counted, find_obstacle(deployment, counted))
    status: Object = {"readyReplicas": available, "phase": ready.phase}
    if spec.is_stock:
        return _finished(unit, status, [ready.condition(READY)], now)
    if spec.access_url:
        status |= {"serviceName": service_name(spec.name), "accessURL": spec.access_url}
    worker = _serverless_outcome(spec, available, find_sidecar_failure(counted))
    block = _serverless_block(spec.name, spec.serverless, settings)
    status |= {"ssh": {"phase": "Disabled"}, "serverless": {"phase": worker.phase, **block}}
    return _finished(unit, status, [ready.condition(READY), worker.condition(SERVERLESS_READY)], now)


def failure_status(unit: Object, reason: str, message: str, settings: ReconcilerSettings, now: datetime) -> Object:
    """Return the status of a unit whose objects could not be made or written.

    What was observed of objects that were made earlier stays: they are still there.
    """
    before = unit.get("status") or {}
    kept = ("readyReplicas", "serviceName", "accessURL", "ssh")
    status = {"readyReplicas": 0, **{name: before[name] for name in kept if name in before}, "phase": "Failed"}
    conditions = [Condition(READY, False, reason, message)]
    if not is_stock(unit):
        status["serverless"] = block = _failed_block(unit, settings)
        if block["phase"] == "Failed":
            conditions.append(Condition(SERVERLESS_READY, False, reason, message))
    return _finished(unit, status, conditions, now)


def spec_failure_reason(error: UnitSpecError) -> str:
    """Return the condition reason for a wrong spec, by the field that is wrong."""
    return _SPEC_REASONS.get(error.field.partition(".")[0], "InvalidSpec")


def status_changed(old: Object, new: Object) -> bool:
    """Whether two statuses differ in more than their times; only then is one written, and `lastSyncTime` moves."""
    return _without_times(old) != _without_times(new)


def status_patch(old: Object, new: Object) -> Object:
    """Return the merge patch (RFC 7386) that makes one status of another."""
    patch: Object = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            if before != value:
                patch[name] = status_patch(before, value)
        elif before != value or name not in old:
            patch[name] = value
    return patch


def _without_times(status: Object) -> dict[str, Any]:
    rest = {name: value for name, value in status.items() if name != "lastSyncTime"}
    rest["conditions"] = [
        {name: value for name, value in condition.items() if name != "lastTransitionTime"}
        for condition in status.get("conditions") or ()
    ]
    return rest


def _finished(unit: Object, status: Object, conditions: list[Condition], now: datetime) -> Object:
    before, generation = unit.get("status") or {}, unit["metadata"].get("generation", 0)
    new: Object = {
        **status,
        "observedGeneration": generation,
        "conditions": stamped(conditions, before.get("conditions") or (), generation, now),
    }
    changed = "lastSyncTime" not in before or status_changed(before, new)
    return {**new, "lastSyncTime": format_time(now) if changed else before["lastSyncTime"]}


def _unit_outcome(spec: UnitSpec, available: int, pods: Sequence[Object], obstacle: Obstacle | None) -> _Outcome:
    """First match wins (contract 5.3, "Unit phase"; the first one is ours)."""
    failure = find_failure(pods)
    if spec.serverless and spec.serverless.template_only:
        outcome = _Outcome("Empty", False, "TemplateOnly", _template_message(spec.serverless))
    elif available >= 1:
        outcome = _Outcome("Ready", True, "UnitReady", "a pod of the unit is available")
    elif failure:
        outcome = _Outcome("Failed", False, "PodStartupFailed", _advised(failure, spec))
    elif obstacle:
        reason = "StorageNotReady" if spec.storage_mounts and _is_about_storage(obstacle) else "UnitProgressing"
        outcome = _Outcome("Progressing", False, reason, f"{obstacle}; {obstacle_advice(obstacle, spec)}")
    else:
        message = WAITING_FOR_SIDECAR if only_sidecar_unready(pods) else WAITING_FOR_POD
        outcome = _Outcome("Progressing", False, "UnitProgressing", message)
    if not spec.is_stock:
        return outcome
    return _Outcome(outcome.phase, outcome.is_true, _STOCK_REASONS.get(outcome.reason, outcome.reason), outcome.message)


def _is_about_storage(obstacle: Obstacle) -> bool:
    return "persistentvolumeclaim" in obstacle.message.lower()


def _advised(failure: Failure, spec: UnitSpec) -> str:
    return f"{failure}; {failure_advice(failure, spec)}"


def _template_message(serverless: ServerlessSpec) -> str:
    return (
        f"the unit is the pattern for the workers of the pool {serverless.request_id!r} and runs no pod itself; "
        "set serverless.templateOnly to false to make it a worker too"
    )


def _serverless_outcome(spec: UnitSpec, available: int, failure: Failure | None) -> _Outcome:
    """The sidecar's failure counts before availability (contract 5.3, "Condition `ServerlessReady`")."""
    if not spec.serverless:
        return _Outcome("Disabled", True, "UnitServerlessReady", "the unit is not serverless and has no sidecar")
    if spec.is_template:
        return _Outcome("Disabled", True, "UnitServerlessReady", "the unit is a template only and has no sidecar")
    if failure:
        return _Outcome("Failed", False, "UnitServerlessFailed", _advised(failure, spec))
    if available >= 1:
        return _Outcome("Ready", True, "UnitServerlessReady", "the sidecar is ready")
    return _Outcome("Pending", False, "UnitServerlessPending", WAITING_FOR_SIDECAR)


def _failed_block(unit: Object, settings: ReconcilerSettings) -> Object:
    """The serverless block of a unit that failed early, with what of its spec still resolves."""
    try:
        serverless = serverless_of(unit)
    except UnitSpecError:
        return {"phase": "Failed"}
    phase = "Failed" if serverless else "Disabled"
    return {"phase": phase, **_serverless_block(unit["metadata"]["name"], serverless, settings)}


def _serverless_block(name: str, serverless: ServerlessSpec | None, settings: ReconcilerSettings) -> Object:
    if serverless is None or serverless.template_only:
        return {}
    return {
        "dispatchSubject": Subjects(settings.subject_prefix).dispatch(serverless.request_id, name),
        "socketPath": serverless.socket_path,
        "invokePath": serverless.invoke_path,
        "healthPath": serverless.health_path,
    }
