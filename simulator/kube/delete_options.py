"""How a delete is asked for, in its body or in its parameters. Pure functions of bytes and texts."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from simulator.kube.deletion import DeleteOptions, Propagation
from simulator.kube.listing import bool_parameter, int_parameter
from simulator.kube.status import ApiFailure, Cause, bad_request, invalid_options, invalid_value

_PROPAGATIONS: tuple[Propagation, ...] = ("Foreground", "Background", "Orphan")
_GO_VALUES = {
    "str": "string",
    "int": "number",
    "float": "number",
    "list": "array",
    "dict": "object",
    "NoneType": "null",
}
_ENVELOPE = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'


class _Preconditions(msgspec.Struct, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class _Sent(msgspec.Struct, rename="camel"):
    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    orphan_dependents: bool | None = None
    preconditions: _Preconditions | None = None
    dry_run: list[str] | None = None


_GO_FIELDS = {
    "$.gracePeriodSeconds": "DeleteOptions.gracePeriodSeconds of type int64",
    "$.propagationPolicy": "DeleteOptions.propagationPolicy of type v1.DeletionPropagation",
    "$.orphanDependents": "DeleteOptions.orphanDependents of type bool",
    "$.preconditions": "DeleteOptions.preconditions of type v1.Preconditions",
    "$.preconditions.uid": "Preconditions.preconditions.uid of type types.UID",
    "$.preconditions.resourceVersion": "Preconditions.preconditions.resourceVersion of type string",
    "$.dryRun": "DeleteOptions.dryRun of type []string",
    "$.dryRun[...]": "DeleteOptions.dryRun of type string",
}
"""In the words of the real server."""


def delete_options(body: Any, query: Mapping[str, str], dry_run: list[str]) -> DeleteOptions:
    """Read the options from a decoded body, or from the parameters where there is none (`body` None).

    `dry_run` are all values of that parameter.

    Raises:
        ApiFailure: 400 they cannot be read, 422 they break a rule.
    """
    sent = _of_query(query, dry_run) if body is None else _of_body(body)
    if causes := _causes(sent):
        raise invalid_options("DeleteOptions", *causes)
    preconditions = sent.preconditions or _Preconditions()
    return DeleteOptions(
        grace_period_s=sent.grace_period_seconds,
        uid=preconditions.uid,
        resource_version=preconditions.resource_version,
        propagation=next((known for known in _PROPAGATIONS if known == sent.propagation_policy), None),
        orphan_dependents=sent.orphan_dependents,
        dry_run=bool(sent.dry_run),
    )


def _of_query(query: Mapping[str, str], dry_run: list[str]) -> _Sent:
    return _Sent(
        grace_period_seconds=int_parameter(query, "gracePeriodSeconds"),
        propagation_policy=query.get("propagationPolicy"),
        orphan_dependents=bool_parameter(query, "orphanDependents") if "orphanDependents" in query else None,
        dry_run=dry_run,
    )


def _of_body(body: Any) -> _Sent:
    if not isinstance(body, dict):
        found = _go_value(type(body).__name__)
        problem = f"json: cannot unmarshal {found} into Go value of type {_ENVELOPE}"
        raise bad_request(f"couldn't get version/kind; json parse error: {problem}")
    kind = body.get("kind")
    if kind not in (None, "", "DeleteOptions"):
        version = body.get("apiVersion") or "meta.k8s.io/v1"
        raise bad_request(
            f'no kind "{kind}" is registered for version "{version}" in scheme "pkg/runtime/scheme.go:111"'
        )
    try:
        return msgspec.convert(body, _Sent)
    except msgspec.ValidationError as error:
        raise _wrong_type(str(error)) from error


def _wrong_type(problem: str) -> ApiFailure:
    match = re.search(r"got `(\w+)`(?: - at `(.+)`)?", problem)
    field = _GO_FIELDS.get(match[2] or "") if match else None
    if match is None or field is None:
        return bad_request(problem)
    return bad_request(f"json: cannot unmarshal {_go_value(match[1])} into Go struct field {field}")


def _go_value(name: str) -> str:
    return _GO_VALUES.get(name, name)


def _causes(sent: _Sent) -> list[Cause]:
    causes = []
    policy = sent.propagation_policy
    if policy is not None and sent.orphan_dependents is not None:
        problem = "orphanDependents and deletionPropagation cannot be both set"
        causes.append(invalid_value("propagationPolicy", f'"{policy}"', problem))
    if policy is not None and policy not in _PROPAGATIONS:
        supported = ", ".join(f'"{known}"' for known in (*_PROPAGATIONS, "nil"))
        problem = f'Unsupported value: "{policy}": supported values: {supported}'
        causes.append(Cause("FieldValueNotSupported", problem, "propagationPolicy"))
    if sent.dry_run and set(sent.dry_run) != {"All"}:
        asked = msgspec.json.encode(sent.dry_run).decode()
        causes.append(Cause("FieldValueNotSupported", f'Unsupported value: {asked}: supported values: "All"', "dryRun"))
    return causes
