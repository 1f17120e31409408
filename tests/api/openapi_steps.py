"""Requests for every answer that the OpenAPI document has, against a world of three servers and two odd pools."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator.api.invocations_request import MIRROR_HEADER

IDLE, TEAPOT = "idle", "teapot"
"""Pools of which one answers nothing, and the other always with 418."""
UNIT = {"operationID": "op-1", "name": "tts", "specName": "s1", "image": "tts:1", "serverless": {"requestID": "tts"}}


@dataclass(frozen=True)
class Step:
    """A request and the status that it is answered with."""

    operation: str
    status: int
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    server: str = "whole"


def unit_steps() -> list[Step]:
    here, nowhere, large = {"name": "tts"}, {"name": "none"}, {**UNIT, "image": "x" * 2**20}
    mounts = {"storageMounts": [{"name": "disk", "mountPath": "/data"}]}
    return [
        Step("createUnit", 201, body=UNIT),
        Step("createUnit", 200, body=UNIT),
        Step("createUnit", 409, body=UNIT | {"operationID": "op-2"}),
        Step("createUnit", 400, body={}),
        Step("createUnit", 404, body=UNIT | {"operationID": "op-3", "name": "other"} | mounts),
        Step("createUnit", 413, body=large),
        Step("createUnit", 503, body=UNIT, server="bare"),
        Step("listUnits", 200),
        Step("listUnits", 503, server="bare"),
        Step("getUnit", 200, path=here),
        Step("getUnit", 404, path=nowhere),
        Step("getUnit", 503, path=here, server="bare"),
        Step("updateUnit", 200, path=here, body={"image": "tts:2"}),
        Step("updateUnit", 400, path=here, body={"image": 2}),
        Step("updateUnit", 404, path=nowhere, body={}),
        Step("updateUnit", 413, path=here, body=large),
        Step("updateUnit", 503, path=here, body={}, server="bare"),
        Step("deleteUnit", 204, path=here),
        Step("deleteUnit", 404, path=here),
        Step("deleteUnit", 503, path=here, server="bare"),
    ]


def invocation_steps() -> list[Step]:
    done: dict[str, Any] = {"serverlessRequestID": "tts", "invocationID": "done", "payload": {"text": "hi"}}
    idle = {"serverlessRequestID": IDLE, "invocationID": "open"}
    sync = {"serverlessRequestID": "tts", "mode": "sync"}
    late = {"serverlessRequestID": IDLE, "mode": "sync", "timeoutSeconds": 1}
    pool, wait = {"serverlessRequestID": "tts"}, {"wait": "5s"}
    return [
        Step("invoke", 202, body=done),
        Step("invoke", 200, body=done),
        Step("invoke", 202, body=idle),
        Step("invoke", 200, body=sync),
        Step("invoke", 418, body=sync | {"serverlessRequestID": TEAPOT}, headers={MIRROR_HEADER: "true"}),
        Step("invoke", 400, body=sync, headers={MIRROR_HEADER: "perhaps"}),
        Step("invoke", 404, body=sync, server="strict"),
        Step("invoke", 409, body=idle | {"mode": "sync"}),
        Step("invoke", 413, body=sync | {"payload": "x" * 2**20}),
        Step("invoke", 503, body=sync, server="bare"),
        Step("invoke", 504, body=late),
        Step("getInvocation", 200, path={"id": "done"}, query=wait),
        Step("getInvocation", 200, path={"id": "open"}),
        Step("getInvocation", 400, path={"id": "open"}, query={"wait": "long"}),
        Step("getInvocation", 404, path={"id": "none"}),
        Step("getInvocation", 503, path={"id": "open"}, server="bare"),
        Step("listInvocations", 200, query=pool),
        Step("listInvocations", 200, query={"serverlessRequestID": IDLE}),
        Step("listInvocations", 400),
        Step("listInvocations", 503, query=pool, server="bare"),
        Step("cancelInvocation", 202, path={"id": "open"}),
        Step("cancelInvocation", 404, path={"id": "none"}),
        Step("cancelInvocation", 409, path={"id": "done"}),
        Step("cancelInvocation", 503, path={"id": "open"}, server="bare"),
    ]


def dead_letter_steps(good: str, bad: str) -> list[Step]:
    """`good` can be queued again, `bad` cannot."""
    steps = [
        Step("listDeadLetters", 200),
        Step("listDeadLetters", 400, query={"source": "nobody"}),
        Step("listDeadLetters", 503, server="bare"),
        Step("getDeadLetter", 200, path={"sequence": good}),
        Step("getDeadLetter", 200, path={"sequence": bad}),
        Step("retryDeadLetter", 409, path={"sequence": bad}),
        Step("retryDeadLetter", 202, path={"sequence": good}),
        Step("dropDeadLetter", 204, path={"sequence": bad}),
    ]
    for name in ("getDeadLetter", "retryDeadLetter", "dropDeadLetter"):
        steps.append(Step(name, 400, path={"sequence": "first"}))
        steps.append(Step(name, 404, path={"sequence": bad}))
        steps.append(Step(name, 503, path={"sequence": good}, server="bare"))
    return steps


def others() -> list[Step]:
    return [Step("health", 200), Step("health", 200, server="bare"), Step("openApi", 200)]
