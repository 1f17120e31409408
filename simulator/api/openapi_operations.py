"""The routes as a table: what each takes, and every status and error code that it can answer with (contract 4.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, TypeAlias

from simulator.api import dead_letters
from simulator.api.envelope import (
    BACKPRESSURE,
    INVALID_REQUEST,
    INVOCATION_ID_HEADER,
    INVOCATION_NOT_FOUND,
    INVOCATION_TIMEOUT,
    OPERATION_CONFLICT,
    PAYLOAD_TOO_LARGE,
    POOL_NOT_FOUND,
    SERVICE_UNAVAILABLE,
)
from simulator.api.invocations import ASYNC_FALLBACK_CODE, SYNC_FALLBACK_CODE
from simulator.api.invocations_request import HIGHEST_LIMIT, MIRROR_HEADER
from simulator.api.openapi_schemas import COUNT, POOL, TEXT, UNIT_NAME, Schema, reference
from simulator.dead_letter_rules import SOURCES

UNITS: Final = "/api/v1/gpu-units"
INVOCATIONS: Final = "/api/v1/serverless/invocations"
DEAD_LETTERS: Final = "/api/v1/serverless/dead-letters"

OK: Final = HTTPStatus.OK
BAD: Final = HTTPStatus.BAD_REQUEST
MISSING: Final = HTTPStatus.NOT_FOUND
CONFLICT: Final = HTTPStatus.CONFLICT
TOO_LARGE: Final = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
FAULT: Final = HTTPStatus.INTERNAL_SERVER_ERROR
UNAVAILABLE: Final = HTTPStatus.SERVICE_UNAVAILABLE
TIMEOUT: Final = HTTPStatus.GATEWAY_TIMEOUT

Failures: TypeAlias = dict[HTTPStatus, tuple[str, ...]]
"""By status, the codes that come with it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What an error status means, and the headers that it comes with."""

    meaning: str
    headers: Mapping[str, str] = field(default_factory=dict)


FAILURES: Final[Mapping[HTTPStatus, Failure]] = {
    BAD: Failure("A field is missing or wrong; the message starts with its path."),
    MISSING: Failure("There is none."),
    CONFLICT: Failure("What there is already does not allow it."),
    TOO_LARGE: Failure("The body, or the message with its envelope, is too large."),
    FAULT: Failure("Something else went wrong; the API's log says what."),
    UNAVAILABLE: Failure(
        "The cluster or the queue is away, or too much is waiting; try again.",
        {"Retry-After": "Seconds after which to try again."},
    ),
    TIMEOUT: Failure(
        "No result came in time.", {INVOCATION_ID_HEADER: "The invocation that may still finish: look for it later."}
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path: the schemas of its successes (None: no body) and the codes of its failures.

    A `raw` success is not answered as `{"data": …}`. One that `mirrors` may be asked to answer with the status code
    of a handler: then any status comes with the result.
    """

    method: str
    path: str
    name: str
    summary: str
    successes: Mapping[HTTPStatus, tuple[str, Schema | None]]
    failures: Failures
    parameters: tuple[Schema, ...] = ()
    body: str = ""
    raw: bool = False
    mirrors: bool = False


def _parameter(where: str, name: str, description: str, schema: Schema, *, required: bool = False) -> Schema:
    required = required or where == "path"
    return {"in": where, "name": name, "description": description, "required": required, "schema": schema}


def _list_of(*names: str) -> Schema:
    return {"type": "array", "items": _any_of(*names)}


def _any_of(*names: str) -> Schema:
    return reference(names[0]) if len(names) == 1 else {"anyOf": [reference(name) for name in names]}


def _pool(*, required: bool) -> Schema:
    schema = {"type": "string", "pattern": f"^{POOL}$"}
    return _parameter("query", "serverlessRequestID", "Only of this pool.", schema, required=required)


_UNIT_NAME = _parameter("path", "name", "The unit's name.", {"type": "string", "pattern": f"^{UNIT_NAME}$"})
_ID = _parameter("path", "id", "The invocation's ID.", TEXT | {"minLength": 1})
_SEQUENCE = _parameter("path", "sequence", "The dead letter's place in the stream.", COUNT | {"minimum": 1})
_LIMIT = _parameter("query", "limit", "At most so many.", COUNT | {"minimum": 1, "maximum": HIGHEST_LIMIT})
_WAIT = _parameter(
    "query", "wait", "Wait for the end for so long, at most 60s.", {"type": "string", "pattern": r"^[0-9]{1,3}ms$"}
)
_SOURCE = _parameter("query", "source", "Only of this source.", {"enum": list(SOURCES)})
_MIRROR = _parameter(
    "header",
    MIRROR_HEADER,
    "Answer a sync call with its result's statusCode as the status.",
    {"enum": ["true", "false"]},
)

_UNIT = ("The unit.", reference("Unit"))
_DONE: tuple[str, Schema | None] = ("Done.", None)
_AWAY: Final[Failures] = {UNAVAILABLE: (SERVICE_UNAVAILABLE,)}
_WRONG: Final[Failures] = {BAD: (INVALID_REQUEST,)}
_BODY: Final[Failures] = _WRONG | {TOO_LARGE: (PAYLOAD_TOO_LARGE,)}
_USED: Final[Failures] = {CONFLICT: (OPERATION_CONFLICT,)}
_NO_INVOCATION: Final[Failures] = {MISSING: (INVOCATION_NOT_FOUND,)}
_NO_LETTER: Final[Failures] = {MISSING: (dead_letters.DEAD_LETTER_NOT_FOUND,)}


def _missing(code: str) -> Failures:
    return {MISSING: (code,)}


def _fault(*codes: str) -> Failures:
    return {FAULT: codes}


OPERATIONS: Final = (
    Operation(
        method="get",
        path="/api/v1/health",
        name="health",
        summary="See how the platform is",
        successes={OK: ("Always, whatever is connected.", reference("Health"))},
        failures=_fault("health_failed"),
    ),
    Operation(
        method="get",
        path="/api/v1/openapi.json",
        name="openApi",
        summary="Read this document",
        successes={OK: ("This document.", {"type": "object"})},
        failures={},
        raw=True,
    ),
    Operation(
        method="get",
        path=UNITS,
        name="listUnits",
        summary="List the units by name",
        successes={OK: ("All units.", _list_of("Unit"))},
        failures=_fault("list_gpuunits_failed") | _AWAY,
    ),
    Operation(
        method="post",
        path=UNITS,
        name="createUnit",
        summary="Create a unit, once per operation ID",
        body="UnitCreate",
        successes={
            HTTPStatus.CREATED: _UNIT,
            OK: ("The unit that this very request created before.", reference("Unit")),
        },
        failures=_BODY | _missing("create_gpuunit_failed") | _USED | _fault("create_gpuunit_failed") | _AWAY,
    ),
    Operation(
        method="get",
        path=f"{UNITS}/{{name}}",
        name="getUnit",
        summary="Read a unit",
        parameters=(_UNIT_NAME,),
        successes={OK: _UNIT},
        failures=_missing("gpuunit_not_found") | _fault("gpuunit_not_found") | _AWAY,
    ),
    Operation(
        method="put",
        path=f"{UNITS}/{{name}}",
        name="updateUnit",
        summary="Change a unit",
        parameters=(_UNIT_NAME,),
        body="UnitUpdate",
        successes={OK: _UNIT},
        failures=_BODY | _missing("update_gpuunit_failed") | _USED | _fault("update_gpuunit_failed") | _AWAY,
    ),
    Operation(
        method="delete",
        path=f"{UNITS}/{{name}}",
        name="deleteUnit",
        summary="Delete a unit and what was made for it",
        parameters=(_UNIT_NAME,),
        successes={HTTPStatus.NO_CONTENT: _DONE},
        failures=_missing("delete_gpuunit_failed") | _fault("delete_gpuunit_failed") | _AWAY,
    ),
    Operation(
        method="post",
        path=INVOCATIONS,
        name="invoke",
        summary="Invoke a pool, at once or waiting for the result",
        parameters=(_MIRROR,),
        body="Invocation",
        successes={
            HTTPStatus.ACCEPTED: ("Queued.", reference("Receipt")),
            OK: ("Queued before (async), or the result (sync).", _any_of("Receipt", "InvocationResult")),
        },
        failures={
            **_BODY,
            MISSING: (POOL_NOT_FOUND,),
            **_USED,
            **_fault(ASYNC_FALLBACK_CODE, SYNC_FALLBACK_CODE),
            UNAVAILABLE: (SERVICE_UNAVAILABLE, BACKPRESSURE),
            TIMEOUT: (INVOCATION_TIMEOUT,),
        },
        mirrors=True,
    ),
    Operation(
        method="get",
        path=INVOCATIONS,
        name="listInvocations",
        summary="List a pool's recent invocations, the newest first",
        parameters=(_pool(required=True), _LIMIT),
        successes={OK: ("Those under way, then those that ended.", _list_of("InvocationUnderWay", "InvocationResult"))},
        failures=_WRONG | _fault("list_serverless_invocations_failed") | _AWAY,
    ),
    Operation(
        method="get",
        path=f"{INVOCATIONS}/{{id}}",
        name="getInvocation",
        summary="See where an invocation is, or its result",
        parameters=(_ID, _WAIT),
        successes={OK: ("The invocation.", _any_of("InvocationUnderWay", "InvocationResult"))},
        failures=_WRONG | _NO_INVOCATION | _fault("get_serverless_invocation_failed") | _AWAY,
    ),
    Operation(
        method="delete",
        path=f"{INVOCATIONS}/{{id}}",
        name="cancelInvocation",
        summary="Take an invocation back",
        parameters=(_ID,),
        successes={HTTPStatus.ACCEPTED: ("The invocation as it was.", reference("InvocationUnderWay"))},
        failures=_NO_INVOCATION | _USED | _fault("cancel_serverless_invocation_failed") | _AWAY,
    ),
    Operation(
        method="get",
        path=DEAD_LETTERS,
        name="listDeadLetters",
        summary="List what was given up, the newest first",
        parameters=(_SOURCE, _pool(required=False), _LIMIT),
        successes={OK: ("The dead letters, without their payloads.", _list_of("DeadLetterSummary"))},
        failures=_WRONG | _fault(dead_letters.LIST_FALLBACK_CODE) | _AWAY,
    ),
    Operation(
        method="get",
        path=f"{DEAD_LETTERS}/{{sequence}}",
        name="getDeadLetter",
        summary="Read a dead letter",
        parameters=(_SEQUENCE,),
        successes={OK: ("The dead letter.", reference("DeadLetter"))},
        failures=_WRONG | _NO_LETTER | _fault(dead_letters.GET_FALLBACK_CODE) | _AWAY,
    ),
    Operation(
        method="post",
        path=f"{DEAD_LETTERS}/{{sequence}}/retry",
        name="retryDeadLetter",
        summary="Queue a dead letter's work again; it is then gone",
        parameters=(_SEQUENCE,),
        successes={
            HTTPStatus.ACCEPTED: ("Queued.", reference("RetryReceipt")),
            OK: ("Queued before.", reference("RetryReceipt")),
        },
        failures={
            **_WRONG,
            **_NO_LETTER,
            CONFLICT: (dead_letters.NOT_RETRYABLE,),
            **_fault(dead_letters.RETRY_FALLBACK_CODE),
            **_AWAY,
        },
    ),
    Operation(
        method="delete",
        path=f"{DEAD_LETTERS}/{{sequence}}",
        name="dropDeadLetter",
        summary="Delete a dead letter",
        parameters=(_SEQUENCE,),
        successes={HTTPStatus.NO_CONTENT: _DONE},
        failures=_WRONG | _NO_LETTER | _fault(dead_letters.DROP_FALLBACK_CODE) | _AWAY,
    ),
)
