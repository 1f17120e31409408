"""Questions about access that a client may ask (`kubectl auth can-i`, `kubectl auth whoami`).

A review is created and answered with its `status`, and nothing is stored.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from simulator.kube.access.attributes import Attributes
from simulator.kube.access.authorization import Authorizer
from simulator.kube.access.credentials import Credentials
from simulator.kube.access.users import AUDIENCE, User
from simulator.kube.kinds import Kind, Object
from simulator.kube.status import ApiFailure, Cause, bad_request, invalid_value
from simulator.kube.timestamps import format_time

_AUTHORIZATION: Final = "authorization.k8s.io"
_AUTHENTICATION: Final = "authentication.k8s.io"


def _review(group: str, kind: str, *, namespaced: bool = False) -> Kind:
    return Kind(group, "v1", kind, f"{kind.lower()}s", namespaced, has_status=False, has_generation=False)


LOCAL_SUBJECT_ACCESS_REVIEW: Final = _review(_AUTHORIZATION, "LocalSubjectAccessReview", namespaced=True)
SELF_SUBJECT_ACCESS_REVIEW: Final = _review(_AUTHORIZATION, "SelfSubjectAccessReview")
SELF_SUBJECT_RULES_REVIEW: Final = _review(_AUTHORIZATION, "SelfSubjectRulesReview")
SUBJECT_ACCESS_REVIEW: Final = _review(_AUTHORIZATION, "SubjectAccessReview")
SELF_SUBJECT_REVIEW: Final = _review(_AUTHENTICATION, "SelfSubjectReview")
TOKEN_REVIEW: Final = _review(_AUTHENTICATION, "TokenReview")

REVIEW_KINDS: Final = (
    LOCAL_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_RULES_REVIEW,
    SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_REVIEW,
    TOKEN_REVIEW,
)
"""They can be created, and have no other verb."""
TRACKED: Final = (LOCAL_SUBJECT_ACCESS_REVIEW, SELF_SUBJECT_ACCESS_REVIEW, SUBJECT_ACCESS_REVIEW, TOKEN_REVIEW)
"""Those that are answered with `managedFields`."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, when, and of whom."""

    user: User
    authorizer: Authorizer
    credentials: Credentials
    now: datetime


def reviewed(kind: Kind, review: Object, namespace: str | None, asker: Asker) -> Object:
    """The review, decoded as `kind`, with its answer; `namespace` is that of the path.

    Raises:
        ApiFailure: 400 or 422; the question is not a whole one.
    """
    return _ANSWERS[kind](kind, review, namespace, asker)


def _self_access(kind: Kind, review: Object, _namespace: str | None, asker: Asker) -> Object:
    spec = review.get("spec") or {}
    _check([*_attribute_causes(spec), *_metadata_causes(review)])
    return _answered(kind, review, _decision(spec, asker.user, asker.authorizer))


def _subject_access(kind: Kind, review: Object, _namespace: str | None, asker: Asker) -> Object:
    spec = review.get("spec") or {}
    _check([*_attribute_causes(spec), *_subject_causes(spec), *_metadata_causes(review)])
    return _answered(kind, review, _decision(spec, _subject(spec), asker.authorizer))


def _local_access(kind: Kind, review: Object, namespace: str | None, asker: Asker) -> Object:
    spec, metadata = review.get("spec") or {}, review.get("metadata") or {}
    within = metadata.get("namespace") or namespace or ""
    causes = [*_attribute_causes(spec), *_subject_causes(spec)]
    causes += _metadata_causes(review, "must be empty except for namespace", but_for=("namespace",))
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and resource.get("namespace", "") != within:
        shown = _json(resource.get("namespace", ""))
        causes.append(invalid_value("spec.resourceAttributes.namespace", shown, "must match metadata.namespace"))
    if path is not None:
        problem = "disallowed on this kind of request"
        causes.append(invalid_value("spec.nonResourceAttributes", _path_in_go(path), problem))
    _check(causes)
    answer = _answered(kind, review, _decision(spec, _subject(spec), asker.authorizer))
    return {**answer, "metadata": {"namespace": within, **answer["metadata"]}}


def _self_rules(kind: Kind, review: Object, _namespace: str | None, asker: Asker) -> Object:
    namespace = (review.get("spec") or {}).get("namespace") or ""
    if not namespace:
        raise bad_request("no namespace on request")
    grants = asker.authorizer.grants(asker.user, namespace)
    rules = [grant.rule for grant in grants.grants]
    fields = ("verbs", "apiGroups", "resources", "resourceNames")
    status = {
        "resourceRules": [
            {key: rule[key] for key in fields if rule.get(key)} for rule in rules if rule.get("resources")
        ],
        "nonResourceRules": [
            {key: rule[key] for key in ("verbs", "nonResourceURLs")} for rule in rules if rule.get("nonResourceURLs")
        ],
        "incomplete": bool(grants.problems),
        **({"evaluationError": ", ".join(grants.problems)} if grants.problems else {}),
    }
    return _answered(kind, {"metadata": {}, "spec": {}}, status)


def _self(kind: Kind, _review: Object, _namespace: str | None, asker: Asker) -> Object:
    status = {"userInfo": _user_info(asker.user)}
    return _answered(kind, {"metadata": {"creationTimestamp": format_time(asker.now)}}, status)


def _token(kind: Kind, review: Object, _namespace: str | None, asker: Asker) -> Object:
    spec = review.get("spec") or {}
    if not spec.get("token"):
        raise bad_request("token is required for TokenReview in authentication")
    user = asker.credentials.user_of_token(spec["token"])
    audiences = spec.get("audiences") or [AUDIENCE]
    if user is None or AUDIENCE not in audiences:
        return _answered(kind, review, {"user": {}, "error": "invalid bearer token"})
    return _answered(kind, review, {"authenticated": True, "user": _user_info(user), "audiences": [AUDIENCE]})


_ANSWERS: Final[dict[Kind, Callable[[Kind, Object, str | None, Asker], Object]]] = {
    LOCAL_SUBJECT_ACCESS_REVIEW: _local_access,
    SELF_SUBJECT_ACCESS_REVIEW: _self_access,
    SELF_SUBJECT_RULES_REVIEW: _self_rules,
    SUBJECT_ACCESS_REVIEW: _subject_access,
    SELF_SUBJECT_REVIEW: _self,
    TOKEN_REVIEW: _token,
}


def _answered(kind: Kind, review: Object, status: dict[str, Any]) -> Object:
    spec = {"spec": review["spec"]} if "spec" in review else {}
    metadata = review.get("metadata") or {}
    return {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata, **spec, "status": status}


def _decision(spec: Object, user: User, authorizer: Authorizer) -> dict[str, Any]:
    attributes = _attributes(spec)
    grants = authorizer.grants(user, attributes.namespace)
    reason = grants.reason(attributes)
    return {"allowed": grants.allow(attributes), **({"reason": reason} if reason else {})}


def _attributes(spec: Object) -> Attributes:
    wanted = spec.get("resourceAttributes")
    if wanted is None:
        wanted = spec["nonResourceAttributes"]
        return Attributes(wanted.get("verb", ""), path=wanted.get("path", ""))
    fields = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(*(wanted.get(name, "") for name in fields))


def _subject(spec: Object) -> User:
    extra = tuple((key, tuple(values)) for key, values in sorted((spec.get("extra") or {}).items()))
    return User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)


def _user_info(user: User) -> dict[str, Any]:
    return {
        "username": user.name,
        **({"uid": user.uid} if user.uid else {}),
        **({"groups": list(user.groups)} if user.groups else {}),
        **({"extra": {key: list(values) for key, values in user.extra}} if user.extra else {}),
    }


def _check(causes: list[Cause]) -> None:
    """Raise the failure for what is wrong, which names the group only, as that of the real server does."""
    if not causes:
        return
    problems = [f"{cause.field}: {cause.message}" for cause in causes]
    text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    found = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    details = {"group": _AUTHORIZATION, "causes": found}
    raise ApiFailure(422, f'.{_AUTHORIZATION} "" is invalid: {text}', "Invalid", details)


def _attribute_causes(spec: Object) -> list[Cause]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        problem = "cannot be specified in combination with resourceAttributes"
        return [invalid_value("spec.nonResourceAttributes", _path_in_go(path), problem)]
    if resource is None and path is None:
        problem = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [invalid_value("spec.resourceAttributes", "null", problem)]
    return []


def _subject_causes(spec: Object) -> list[Cause]:
    if spec.get("user") or spec.get("groups"):
        return []
    return [invalid_value("spec.user", '""', "at least one of user or group must be specified")]


def _metadata_causes(review: Object, problem: str = "must be empty", but_for: tuple[str, ...] = ()) -> list[Cause]:
    metadata = review.get("metadata") or {}
    given = {name for name, value in metadata.items() if value and name not in (*but_for, "managedFields")}
    return [invalid_value("metadata", _json(metadata), problem)] if given else []


def _path_in_go(path: Object) -> str:
    return _json({"Path": path.get("path", ""), "Verb": path.get("verb", "")})


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
