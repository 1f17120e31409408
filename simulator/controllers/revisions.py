"""The history of a Deployment: its ReplicaSets, what tells them apart, and the annotations that number them."""

import copy
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Final

from simulator.controllers.counts import counted, max_surge, replicas
from simulator.controllers.ownership import age_order, controller_reference
from simulator.controllers.pod_state import is_terminating
from simulator.kube.kinds import DEPLOYMENT, Object

HASH_LABEL: Final = "pod-template-hash"
REVISION: Final = "deployment.kubernetes.io/revision"
REVISION_HISTORY: Final = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS: Final = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS: Final = "deployment.kubernetes.io/max-replicas"
DEFAULT_HISTORY_LIMIT: Final = 10
LONGEST_HISTORY: Final = 2000
"""Characters of the annotation that lists earlier revisions of a ReplicaSet."""
UNLIMITED: Final = 2**31 - 1
"""As a limit or a deadline: none."""

_NOT_COPIED: Final = {
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
}
_DIGITS: Final = str.maketrans("0123456789", "456789bcdf")
"""Kubernetes writes the hash of a template, a number, without vowels and with letters that cannot be mistaken."""
_LONGEST_NAME: Final = 253


def annotations_of(obj: Object) -> dict[str, str]:
    """The object's annotations."""
    found: dict[str, str] = obj["metadata"].get("annotations") or {}
    return found


def template_hash(deployment: Object) -> str:
    """Up to ten letters and digits that stand for the Deployment's pod template."""
    collisions = counted(deployment, "collisionCount")
    template = json.dumps([deployment["spec"]["template"], *([collisions] if collisions else [])], sort_keys=True)
    number = int.from_bytes(hashlib.sha256(template.encode()).digest()[:4], "big")
    return str(number).translate(_DIGITS)


def is_of_template(replica_set: Object, template: Object) -> bool:
    """Whether the ReplicaSet's pods are made of this template, the label with its hash aside."""
    return _without_hash(replica_set["spec"]["template"]) == _without_hash(template)


def split(deployment: Object, replica_sets: Iterable[Object]) -> tuple[Object | None, list[Object]]:
    """The ReplicaSet of the Deployment's present template, if there is one, and the others, oldest first."""
    ordered = sorted(replica_sets, key=age_order)
    new = next((entry for entry in ordered if is_of_template(entry, deployment["spec"]["template"])), None)
    return new, [entry for entry in ordered if entry is not new]


def revision(obj: Object) -> int:
    """The revision that the object's annotation tells, 0 if it tells none."""
    text = annotations_of(obj).get(REVISION, "0")
    return int(text) if text.isdecimal() else 0


def next_revision(old: Iterable[Object]) -> int:
    """The revision that follows those of the old ReplicaSets."""
    return max(map(revision, old), default=0) + 1


def new_replica_set(deployment: Object, old: Sequence[Object], wanted: int) -> Object:
    """The ReplicaSet of the Deployment's present template, for `wanted` pods."""
    digest, metadata, spec = template_hash(deployment), deployment["metadata"], deployment["spec"]
    template = copy.deepcopy(spec["template"])
    template["metadata"] = {**(template.get("metadata") or {})}
    template["metadata"]["labels"] = {**(template["metadata"].get("labels") or {}), HASH_LABEL: digest}
    selector = spec.get("selector") or {}
    selector = {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}}
    min_ready = spec.get("minReadySeconds")
    stem = metadata["name"][: _LONGEST_NAME - 1 - len(digest)]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{stem}-{digest}",
            "namespace": metadata["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": {
                **_copied(deployment),
                REVISION: str(next_revision(old)),
                **_replica_annotations(deployment),
            },
            "ownerReferences": [controller_reference(DEPLOYMENT, deployment)],
        },
        "spec": {
            "replicas": wanted,
            **({"minReadySeconds": min_ready} if min_ready else {}),
            "selector": selector,
            "template": template,
        },
    }


def brought_up_to_date(replica_set: Object, deployment: Object, old: Sequence[Object]) -> Object | None:
    """The new ReplicaSet with the Deployment's annotations and the highest revision, None if it has them already.

    When it gets a higher revision than it had, which is so after a rollback, the earlier one goes into its history.
    """
    before = annotations_of(replica_set)
    after = {**before, **_copied(deployment)}
    had, due = before.get(REVISION, ""), next_revision(old)
    if revision(replica_set) < due:
        after[REVISION] = str(due)
        if had:
            after[REVISION_HISTORY] = _lengthened(before.get(REVISION_HISTORY, ""), had)
    spec, min_ready = replica_set["spec"], deployment["spec"].get("minReadySeconds", 0)
    if after == before and spec.get("minReadySeconds", 0) == min_ready:
        return None
    return {
        **replica_set,
        "metadata": {**replica_set["metadata"], "annotations": after},
        "spec": {**spec, "minReadySeconds": min_ready},
    }


def resized(replica_set: Object, deployment: Object, wanted: int) -> Object | None:
    """The ReplicaSet for `wanted` pods, with the Deployment's numbers noted; None if it is so already."""
    before = annotations_of(replica_set)
    after = {**before, **_replica_annotations(deployment)}
    if replicas(replica_set) == wanted and before == after:
        return None
    return {
        **replica_set,
        "metadata": {**replica_set["metadata"], "annotations": after},
        "spec": {**replica_set["spec"], "replicas": wanted},
    }


def desired_replicas(replica_set: Object) -> int | None:
    """How many pods the Deployment wanted in all when it last sized this ReplicaSet."""
    return _number(replica_set, DESIRED_REPLICAS)


def most_replicas(replica_set: Object) -> int | None:
    """How many pods the Deployment allowed in all when it last sized this ReplicaSet."""
    return _number(replica_set, MAX_REPLICAS)


def outlived(deployment: Object, old: Iterable[Object]) -> list[Object]:
    """The old ReplicaSets beyond the limit of the history, lowest revision first; only those whose pods are gone."""
    limit = deployment["spec"].get("revisionHistoryLimit")
    limit = DEFAULT_HISTORY_LIMIT if limit is None else limit
    kept = [entry for entry in old if not is_terminating(entry)]
    surplus = len(kept) - limit
    if limit == UNLIMITED or surplus <= 0:
        return []
    lowest = sorted(kept, key=lambda entry: (revision(entry), age_order(entry)))[:surplus]
    return [entry for entry in lowest if _is_idle(entry)]


def _is_idle(replica_set: Object) -> bool:
    observed = counted(replica_set, "observedGeneration") >= replica_set["metadata"].get("generation", 1)
    return observed and not replicas(replica_set) and not counted(replica_set, "replicas")


def _without_hash(template: Object) -> Object:
    metadata = dict(template.get("metadata") or {})
    metadata["labels"] = {name: text for name, text in (metadata.get("labels") or {}).items() if name != HASH_LABEL}
    return {**template, "metadata": {name: value for name, value in metadata.items() if value}}


def _copied(deployment: Object) -> dict[str, str]:
    return {name: text for name, text in annotations_of(deployment).items() if name not in _NOT_COPIED}


def _replica_annotations(deployment: Object) -> dict[str, str]:
    wanted = replicas(deployment)
    return {DESIRED_REPLICAS: str(wanted), MAX_REPLICAS: str(wanted + max_surge(deployment))}


def _lengthened(history: str, had: str) -> str:
    revisions = [*history.split(","), had] if history else [had]
    while len(",".join(revisions)) > LONGEST_HISTORY:
        revisions.pop(0)
    return ",".join(revisions)


def _number(replica_set: Object, annotation: str) -> int | None:
    text = annotations_of(replica_set).get(annotation, "")
    return int(text) if text.isdecimal() else None
