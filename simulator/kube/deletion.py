"""What a delete does to an object: nothing yet, a mark, or its end. Pure functions of JSON values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from simulator.kube.crds import CLEANUP, with_termination
from simulator.kube.kinds import CUSTOM_RESOURCE_DEFINITION, EVENT, NAMESPACE, Kind, Object
from simulator.kube.status import ApiFailure, conflict, failed_precondition
from simulator.kube.timestamps import format_time

DEFAULT_GRACE_S = 30
"""What a pod gets whose spec does not say (`terminationGracePeriodSeconds`)."""
FOREGROUND = "foregroundDeletion"
"""The finalizer of an object that waits for its dependents."""
ORPHAN = "orphan"
"""The finalizer of an object whose dependents are to be kept."""

Propagation = Literal["Background", "Foreground", "Orphan"]

_UNPROPAGATED = (EVENT,)
"""Kinds whose objects own nothing."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a delete asks for. `grace_period_s` None leaves it to the object; `uid` and `resource_version` must fit.

    `propagation` says what becomes of the dependents, None leaves it to the object. `orphan_dependents` is what came
    before it, and is never set together with it.
    """

    grace_period_s: int | None = None
    uid: str | None = None
    resource_version: str | None = None
    propagation: Propagation | None = None
    orphan_dependents: bool | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Deletion:
    """The outcome: the object with its marks, and whether it is to be removed now."""

    obj: Object
    remove: bool


def check_preconditions(kind: Kind, obj: Object, options: DeleteOptions) -> None:
    """Check that the object is the one that is to be deleted.

    Raises:
        ApiFailure: 409; it has another uid or resource version.
    """
    metadata = obj["metadata"]
    if options.uid is not None and options.uid != metadata["uid"]:
        raise _unmet(kind, obj, "UID", options.uid, "uid", "The object might have been deleted and then recreated")
    if options.resource_version is not None and options.resource_version != metadata["resourceVersion"]:
        problem = "The object might have been modified"
        raise _unmet(kind, obj, "ResourceVersion", options.resource_version, "resourceVersion", problem)


def plan_deletion(kind: Kind, obj: Object, options: DeleteOptions, now: datetime) -> Deletion:
    """Decide what a delete at `now` does.

    An object with finalizers is marked and stays until they are gone; the propagation asked for is a finalizer too. A
    pod that runs on a node is marked and stays until it is deleted with a grace period of 0, which is the kubelet's
    part; a second delete may shorten the time, never lengthen it.
    """
    if kind == NAMESPACE and "deletionTimestamp" not in obj["metadata"]:
        return Deletion(_terminating(obj, options, now), False)
    if kind == NAMESPACE and obj["spec"].get("finalizers"):
        return Deletion(obj, False)
    if kind == CUSTOM_RESOURCE_DEFINITION and "deletionTimestamp" not in obj["metadata"]:
        return Deletion(_awaiting_cleanup(obj, now), False)
    if kind.graceful and _time_is_running(obj) and not _shortens(obj, options):
        return Deletion(obj, False)
    given_time = _given_time(obj, options, now) if kind.graceful else None
    finalizers = _finalizers(kind, obj, options)
    if given_time is not None:
        remove = not finalizers and given_time["metadata"]["deletionGracePeriodSeconds"] == 0
        return Deletion(_with_finalizers(given_time, finalizers), remove)
    if finalizers:
        return Deletion(_with_finalizers(_marked(obj, now), finalizers), False)
    return Deletion(obj, True)


def is_over(kind: Kind, obj: Object) -> bool:
    """Whether nothing holds an object any longer that was marked as deleted."""
    metadata = obj["metadata"]
    return (
        "deletionTimestamp" in metadata
        and not metadata.get("finalizers")
        and metadata.get("deletionGracePeriodSeconds", 0) == 0
        and not (kind == NAMESPACE and (obj.get("spec") or {}).get("finalizers"))
    )


def is_deleting(obj: Object) -> bool:
    """Whether the object was marked as deleted."""
    return "deletionTimestamp" in obj["metadata"]


def waits_for_dependents(obj: Object) -> bool:
    """Whether the object is deleted in the foreground: after its dependents."""
    return is_deleting(obj) and FOREGROUND in (obj["metadata"].get("finalizers") or ())


def without_finalizer(obj: Object, finalizer: str) -> Object:
    """The object without one of its finalizers."""
    return _with_finalizers(obj, [held for held in obj["metadata"].get("finalizers") or () if held != finalizer])


def _unmet(kind: Kind, obj: Object, title: str, asked: str, field: str, problem: str) -> ApiFailure:
    name, actual = obj["metadata"]["name"], obj["metadata"][field]
    if kind in (NAMESPACE, CUSTOM_RESOURCE_DEFINITION):
        text = f"Precondition failed: {title} in precondition: {asked}, {title} in object meta: {actual}"
        return conflict(kind, name, text)
    text = f"the {title} in the precondition ({asked}) does not match the {title} in record ({actual}). {problem}"
    return failed_precondition(kind, name, text)


def _time_is_running(obj: Object) -> bool:
    return is_deleting(obj) and bool(obj["metadata"].get("deletionGracePeriodSeconds"))


def _shortens(obj: Object, options: DeleteOptions) -> bool:
    asked_s = _asked_s(options)
    return asked_s is not None and asked_s < int(obj["metadata"]["deletionGracePeriodSeconds"])


def _asked_s(options: DeleteOptions) -> int | None:
    """The grace period asked for; a negative one stands for one second."""
    asked_s = options.grace_period_s
    return 1 if asked_s is not None and asked_s < 0 else asked_s


def _given_time(obj: Object, options: DeleteOptions, now: datetime) -> Object | None:
    """The object with the end of its grace period; None where that is past."""
    metadata = obj["metadata"]
    if not is_deleting(obj):
        grace_s = _first_grace_s(obj, options)
        generation = {"generation": metadata["generation"] + 1} if metadata.get("generation") else {}
        return _timed({**obj, "metadata": {**metadata, **generation}}, now + timedelta(seconds=grace_s), grace_s)
    if not _time_is_running(obj):
        return None
    grace_s = _asked_s(options) or 0
    began = _moment(metadata["deletionTimestamp"]) - timedelta(seconds=metadata["deletionGracePeriodSeconds"])
    ends = began + timedelta(seconds=grace_s)
    if ends < now:
        # The time is over already; whoever ends the object still gets its turn unless that was not wanted.
        return _timed(obj, now, min(grace_s, 1))
    return _timed(obj, ends, grace_s)


def _first_grace_s(pod: Object, options: DeleteOptions) -> int:
    spec = pod.get("spec") or {}
    if not spec.get("nodeName") or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return 0  # nothing runs that needs time
    asked_s = _asked_s(options)
    grace_s = int(spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_S)) if asked_s is None else asked_s
    return 1 if grace_s < 0 else grace_s


def _timed(obj: Object, ends: datetime, grace_s: int) -> Object:
    mark = {"deletionTimestamp": format_time(ends), "deletionGracePeriodSeconds": grace_s}
    return {**obj, "metadata": {**obj["metadata"], **mark}}


def _marked(obj: Object, now: datetime) -> Object:
    """The object as deleted without any time of grace."""
    metadata = obj["metadata"]
    mark: dict[str, object] = {"deletionGracePeriodSeconds": 0}
    if not is_deleting(obj):
        mark["deletionTimestamp"] = format_time(now)
        if metadata.get("generation"):
            mark["generation"] = metadata["generation"] + 1
    elif _moment(metadata["deletionTimestamp"]) > now:
        mark["deletionTimestamp"] = format_time(now)
    return {**obj, "metadata": {**metadata, **mark}}


def _terminating(namespace: Object, options: DeleteOptions, now: datetime) -> Object:
    marked = {
        **namespace,
        "metadata": {**namespace["metadata"], "deletionTimestamp": format_time(now)},
        "status": {**(namespace.get("status") or {}), "phase": "Terminating"},
    }
    return _with_finalizers(marked, _finalizers(NAMESPACE, namespace, options))


def _awaiting_cleanup(definition: Object, now: datetime) -> Object:
    metadata = {**definition["metadata"], "deletionTimestamp": format_time(now)}
    held = metadata.get("finalizers") or []
    message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    marked = with_termination({**definition, "metadata": metadata}, True, "InstanceDeletionPending", message, now)
    return marked if CLEANUP in held else _with_finalizers(marked, [*held, CLEANUP])


def _finalizers(kind: Kind, obj: Object, options: DeleteOptions) -> list[str]:
    """The object's finalizers, with that of the propagation that is asked for, or else that it has, at the end."""
    held: Sequence[str] = obj["metadata"].get("finalizers") or ()
    propagation = next((finalizer for finalizer in held if finalizer in (ORPHAN, FOREGROUND)), None)
    if kind in _UNPROPAGATED:
        propagation = None
    elif options.orphan_dependents is not None:
        propagation = ORPHAN if options.orphan_dependents else None
    elif options.propagation is not None:
        propagation = {"Orphan": ORPHAN, "Foreground": FOREGROUND, "Background": None}[options.propagation]
    others = [finalizer for finalizer in held if finalizer not in (ORPHAN, FOREGROUND)]
    wanted = [*others, propagation] if propagation else others
    return list(held) if set(held) == set(wanted) else wanted


def _with_finalizers(obj: Object, finalizers: list[str]) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "finalizers"}
    return {**obj, "metadata": {**metadata, **({"finalizers": finalizers} if finalizers else {})}}


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
