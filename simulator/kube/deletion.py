"""What a delete does to an object: nothing yet, a mark, or its end. Pure functions of JSON values."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from simulator.kube.kinds import Kind, Object
from simulator.kube.status import failed_precondition
from simulator.kube.strategy import timestamp

DEFAULT_GRACE_S = 30
"""What a pod gets whose spec does not say (`terminationGracePeriodSeconds`)."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a delete asks for. `grace_period_s` None leaves it to the object; the other two must fit if given."""

    grace_period_s: int | None = None
    uid: str | None = None
    resource_version: str | None = None


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
        raise failed_precondition(
            kind,
            metadata["name"],
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated",
        )
    version = metadata["resourceVersion"]
    if options.resource_version is not None and options.resource_version != version:
        raise failed_precondition(
            kind,
            metadata["name"],
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the "
            f"ResourceVersion in record ({version}). The object might have been modified",
        )


def plan_deletion(kind: Kind, obj: Object, grace_period_s: int | None, now: datetime) -> Deletion:
    """Decide what a delete at `now` does.

    An object with finalizers is marked and stays until they are gone. A pod that runs on a node is marked and stays
    until it is deleted with a grace period of 0, which is the kubelet's part; a second delete may shorten the time,
    never lengthen it.
    """
    grace_s = _grace_s(obj, grace_period_s) if kind.graceful else 0
    marked = _mark(kind, obj, grace_s, now)
    remove = not obj["metadata"].get("finalizers") and marked["metadata"].get("deletionGracePeriodSeconds", 0) == 0
    # An object that goes at once is not marked, except where the watchers of a pod see its last state.
    return Deletion(marked if kind.graceful or not remove else obj, remove)


def is_over(obj: Object) -> bool:
    """Whether nothing holds an object any longer that was marked as deleted."""
    metadata = obj["metadata"]
    return (
        "deletionTimestamp" in metadata
        and not metadata.get("finalizers")
        and metadata.get("deletionGracePeriodSeconds", 0) == 0
    )


def _grace_s(pod: Object, asked_s: int | None) -> int:
    if not pod.get("spec", {}).get("nodeName") or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0  # nothing runs that needs time
    if asked_s is not None:
        return max(asked_s, 0)
    already_s: int | None = pod["metadata"].get("deletionGracePeriodSeconds")
    if already_s is not None:
        return already_s
    return int(pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_S))


def _mark(kind: Kind, obj: Object, grace_s: int, now: datetime) -> Object:
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata:
        generation = {"generation": metadata["generation"] + 1} if kind.has_generation else {}
    elif grace_s < metadata.get("deletionGracePeriodSeconds", 0):
        generation = {}
    else:
        return obj
    mark = {
        **generation,
        "deletionTimestamp": timestamp(now + timedelta(seconds=grace_s)),
        "deletionGracePeriodSeconds": grace_s,
    }
    return {**obj, "metadata": {**metadata, **mark}}
