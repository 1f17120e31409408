"""GPUUnit objects as the API makes and shows them, and what a create request means beside them (contract 4.2).

No I/O: objects in, objects and decisions out.
"""

from collections.abc import Iterable
from http import HTTPStatus

from simulator.api.envelope import OPERATION_CONFLICT, ApiError
from simulator.api.units_request import UnitCreate
from simulator.gpuunit import ACTIVE_NAMESPACE, OPERATION_ID_ANNOTATION, REQUEST_HASH_ANNOTATION
from simulator.kube.kinds import GPUUNIT, Object

UNSET_TIME = "0001-01-01T00:00:00Z"


def new_unit(request: UnitCreate) -> Object:
    """The GPUUnit that a create request asks for; its annotations make a replay recognisable."""
    return {
        "apiVersion": GPUUNIT.api_version,
        "kind": GPUUNIT.kind,
        "metadata": {
            "name": request.name,
            "namespace": ACTIVE_NAMESPACE,
            "annotations": {
                OPERATION_ID_ANNOTATION: request.operation_id,
                REQUEST_HASH_ANNOTATION: request.request_hash,
            },
        },
        "spec": request.spec,
    }


def operation_of(unit: Object) -> str:
    """The operation ID that created the unit; empty where there was none."""
    return str((unit["metadata"].get("annotations") or {}).get(OPERATION_ID_ANNOTATION, ""))


def find_replay(request: UnitCreate, units: Iterable[Object]) -> Object | None:
    """Return the unit that this very request already created, or None when the request is new.

    Raises:
        ApiError: 409, the operation ID was used for something else, or the name is taken.
    """
    units = list(units)
    created = [unit for unit in units if operation_of(unit) == request.operation_id]
    names = ", ".join(sorted(repr(unit["metadata"]["name"]) for unit in created))
    if len(created) > 1:
        raise _conflict(
            f"operationID {request.operation_id!r} is used for several units at once: {names}; try again, and if they "
            "stay, delete those that are not wanted"
        )
    if created:
        if (created[0]["metadata"].get("annotations") or {}).get(REQUEST_HASH_ANNOTATION) == request.request_hash:
            return created[0]
        raise _conflict(
            f"operationID {request.operation_id!r} already created unit {names} from another request; "
            "use a new operationID"
        )
    if any(unit["metadata"]["name"] == request.name for unit in units):
        raise _conflict(f"a unit named {request.name!r} exists; delete it or use another name")
    return None


def _conflict(message: str) -> ApiError:
    return ApiError(HTTPStatus.CONFLICT, OPERATION_CONFLICT, message)


def unit_view(unit: Object) -> Object:
    """The unit as every route answers it: struct-valued fields always there, the optional ones only when set."""
    spec = unit.get("spec") or {}
    status = unit.get("status") or {}
    ready: Object = next((c for c in status.get("conditions") or [] if c.get("type") == "Ready"), {})
    optional = {name: spec.get(name) for name in ("packageID", "image", "cpu", "memory", "gpu", "storageMounts")}
    optional |= {name: status.get(name) for name in ("serviceName", "accessURL")}
    optional |= {name: ready.get(name) for name in ("reason", "message")}
    return {
        "name": unit["metadata"]["name"],
        "namespace": unit["metadata"]["namespace"],
        "lifecycle": "instance",
        "specName": spec.get("specName", ""),
        **{name: spec.get(name) or {} for name in ("template", "access", "ssh", "serverless")},
        "phase": status.get("phase", ""),
        "readyReplicas": status.get("readyReplicas", 0),
        "observedGeneration": status.get("observedGeneration", 0),
        "lastSyncTime": status.get("lastSyncTime") or UNSET_TIME,
        "sshStatus": status.get("ssh") or {},
        "serverlessStatus": status.get("serverless") or {},
        **{name: value for name, value in optional.items() if value},
    }
