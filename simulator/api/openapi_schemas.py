"""Component schemas of the OpenAPI document: bodies and messages from their types, the other answers as written here.

What a type cannot say of a body (which fields are required, which text is taken) is added to it in `BODY_RULES`.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from sidecar.messages import ASYNC, SYNC, InvocationResultMessage
from simulator.api.calls import Receipt
from simulator.api.dead_letter_bodies import DeadLetterSummary, DeadLetterView, RetryReceipt
from simulator.api.invocations_request import MAX_TIMEOUT_S, InvocationBody
from simulator.api.unit_bodies import CreateBody, UpdateBody
from simulator.ledger.ledger import Phase

Schema: TypeAlias = dict[str, Any]

REFERENCE: Final = "#/components/schemas/{name}"
UNIT_NAME: Final = "[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?"
INVOCATION_ID: Final = "[A-Za-z0-9_-]{1,64}"
POOL: Final = "[a-z0-9_-]+"

TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
FLAG: Final[Schema] = {"type": "boolean"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}

BODY_RULES: Final[Mapping[str, Mapping[str, Schema]]] = {
    "CreateBody": {
        "operationID": {"type": "string", "minLength": 1},
        "name": {"type": "string", "pattern": f"^{UNIT_NAME}$"},
        "specName": {"type": "string", "minLength": 1},
        "image": {"type": "string", "minLength": 1},
    },
    "InvocationBody": {
        "serverlessRequestID": {"type": "string", "pattern": f"^{POOL}$"},
        "invocationID": {"type": ["string", "null"], "pattern": f"^({INVOCATION_ID})?$"},
        "mode": {"enum": [ASYNC, SYNC, "", None]},
        "timeoutSeconds": {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_TIMEOUT_S},
    },
}
"""Narrower schemas of fields than their types have; a field whose schema does not allow null is required."""

HIDDEN_FROM_CALLERS: Final = ("version", "replySubject")


def reference(name: str) -> Schema:
    """A reference to one component."""
    return {"$ref": REFERENCE.format(name=name)}


def component_schemas() -> dict[str, Schema]:
    """All components, by name."""
    return {
        **_answers(),
        **_with_nested("UnitCreate", CreateBody),
        **_with_nested("UnitUpdate", UpdateBody),
        **_with_nested("Invocation", InvocationBody),
        **_with_nested("InvocationResult", InvocationResultMessage, without=HIDDEN_FROM_CALLERS),
        **_with_nested("Receipt", Receipt),
        **_with_nested("DeadLetterSummary", DeadLetterSummary),
        **_with_nested("DeadLetter", DeadLetterView),
        **_with_nested("RetryReceipt", RetryReceipt),
    }


def _with_nested(name: str, message: type[msgspec.Struct], without: tuple[str, ...] = ()) -> dict[str, Schema]:
    """The schema of a type, and those of the types in its fields. Raw JSON is a schema that anything fits."""
    fields = [field for field in msgspec.structs.fields(message) if field.encode_name not in without]
    schemas, nested = msgspec.json.schema_components([field.type for field in fields], ref_template=REFERENCE)
    rules = BODY_RULES.get(message.__name__, {})
    properties = {
        field.encode_name: rules.get(field.encode_name, schema) for field, schema in zip(fields, schemas, strict=True)
    }
    required = [field.encode_name for field in fields if field.required or _is_required(rules, field.encode_name)]
    schema = {"description": _summary(message), "type": "object", "properties": properties, "required": required}
    return {name: schema, **nested}


def _is_required(rules: Mapping[str, Schema], field: str) -> bool:
    return rules.get(field, {}).get("type") == "string"


def _summary(message: type[msgspec.Struct]) -> str:
    return (message.__doc__ or "").partition("\n")[0].partition(" (contract")[0].rstrip(".")


def _object(description: str, required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object with exactly these fields."""
    return {
        "description": description,
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _answers() -> dict[str, Schema]:
    return {
        "Unrouted": _object("No such route, or not with this method: an answer without an envelope", {"message": TEXT}),
        "Health": _health(),
        "Unit": _unit(),
        "InvocationUnderWay": _under_way(),
    }


def _health() -> Schema:
    nodes = ("nodeCount", "readyNodeCount", "stockUnitCount", "activeUnitCount")
    gpus = ("totalGPUCapacity", "totalGPUAllocatable", "gpuDeviceCount", "averageGpuUtilizationPercent")
    memory = ("totalGpuMemoryMiB", "usedGpuMemoryMiB", "freeGpuMemoryMiB")
    counts = ("uptimeSeconds", *nodes, *gpus, *memory)
    flags = ("kubernetesConnected", "nvidiaMetricsConnected", "queueConnected")
    required = {"startedAt": TIME, **dict.fromkeys(counts, COUNT), **dict.fromkeys(flags, FLAG)}
    return _object("How the API and what it needs are doing", required, {"kubeError": TEXT})


def _unit() -> Schema:
    block: Schema = {"type": "object"}
    texts = ("name", "namespace", "lifecycle", "specName", "phase")
    blocks = ("template", "access", "ssh", "serverless", "sshStatus", "serverlessStatus")
    optional = ("packageID", "image", "cpu", "memory", "serviceName", "accessURL", "reason", "message")
    return _object(
        "A GPU unit: what was asked for, with defaults filled in, and how it is",
        {
            **dict.fromkeys(texts, TEXT),
            **dict.fromkeys(blocks, block),
            "readyReplicas": COUNT,
            "observedGeneration": COUNT,
            "lastSyncTime": TIME,
        },
        {**dict.fromkeys(optional, TEXT), "gpu": COUNT, "storageMounts": {"type": "array", "items": block}},
    )


def _under_way() -> Schema:
    return _object(
        "An invocation that has no result yet; `workerName` says who has it",
        {"invocationID": TEXT, "serverlessRequestID": TEXT, "state": {"enum": [phase.value for phase in Phase]}},
        {"workerName": TEXT},
    )
