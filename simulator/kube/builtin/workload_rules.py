"""The rules for Deployments, ReplicaSets and StatefulSets."""

from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import IMMUTABLE, each, invalid, negative, unsupported
from simulator.kube.builtin.claim_rules import claim_spec_causes
from simulator.kube.builtin.metadata_rules import annotation_causes, label_causes
from simulator.kube.builtin.pod_rules import template_causes
from simulator.kube.builtin.selector_rules import is_empty, is_readable, selector_causes, selects, shown_selector
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

_MUTABLE: Final = (
    *("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit"),
    *("persistentVolumeClaimRetentionPolicy", "minReadySeconds"),
)
"""What may be changed in a StatefulSet."""


def deployment_causes(new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a Deployment, but for its metadata."""
    spec = new["spec"]
    causes = negative("spec.replicas", spec["replicas"])
    causes += _selection_causes(spec, "deployment", "ReplicaSet")
    causes += _strategy_causes(spec["strategy"], "spec.strategy")
    causes += negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    causes += negative("spec.revisionHistoryLimit", spec["revisionHistoryLimit"])
    deadline = spec["progressDeadlineSeconds"]
    causes += negative("spec.progressDeadlineSeconds", deadline)
    if deadline <= spec.get("minReadySeconds", 0):
        causes.append(invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return [*causes, *_selector_change_causes(new, old)]


def replica_set_causes(new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a ReplicaSet, but for its metadata."""
    spec = new["spec"]
    causes = negative("spec.replicas", spec["replicas"])
    causes += negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    causes += _selection_causes(spec, "deployment", "ReplicaSet")
    return [*causes, *_selector_change_causes(new, old)]


def stateful_set_causes(new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a StatefulSet, but for its metadata."""
    spec = new["spec"]
    causes = _set_strategy_causes(spec)
    for name in ("whenDeleted", "whenScaled"):
        policy = spec["persistentVolumeClaimRetentionPolicy"][name]
        if policy not in ("Retain", "Delete"):
            field = f"spec.persistentVolumeClaimRetentionPolicy.{name}"
            causes.append(unsupported(field, policy, ("Retain", "Delete")))
    if old is None:
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            causes += claim_spec_causes(claim["spec"], f"spec.volumeClaimTemplates[{index}].spec")
    causes += negative("spec.replicas", spec["replicas"])
    causes += negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    causes += negative("spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
    if old is None and spec.get("serviceName"):
        causes += each("spec.serviceName", spec["serviceName"], formats.label(spec["serviceName"]))
    causes += _selection_causes(_with_claimed_volumes(spec), "statefulset", "StatefulSet")
    if old is not None and _fixed(spec) != _fixed(old["spec"]):
        problem = (
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
            "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
        )
        causes.append(forbidden_value("spec", problem))
    return causes


def int_or_percent_causes(value: int | str, field: str) -> list[Cause]:
    """What is wrong with a number of pods that may be given as a percentage."""
    if isinstance(value, int):
        return negative(field, value)
    return each(field, value, formats.percentage(value))


def percent_limit_causes(value: int | str, field: str) -> list[Cause]:
    """Whether a percentage is more than there are."""
    return [invalid(field, value, "must not be greater than 100%")] if (_percent(value) or 0) > 100 else []


def _selection_causes(spec: Object, kind: str, controller: str) -> list[Cause]:
    """What is wrong with the selector, with the template, and with how they fit together."""
    selector, template = spec["selector"], spec["template"]
    if selector is None:
        causes = [required("spec.selector", "")]
    else:
        causes = selector_causes(selector, "spec.selector")
        if is_empty(selector):
            problem = f"empty selector is invalid for {kind}"
            causes.append(invalid("spec.selector", shown_selector(selector), problem))
    if selector is not None and not is_readable(selector):
        problem = "" if controller == "StatefulSet" else "invalid label selector"
        causes.append(_unreadable(selector, problem))
    else:
        labels = template["metadata"].get("labels")
        if (selector is None or not is_empty(selector)) and not selects(selector, labels):
            problem = "`selector` does not match template `labels`"
            causes.append(invalid("spec.template.metadata.labels", labels, problem))
        causes += template_causes(template, "spec.template")
        if controller == "StatefulSet":  # it looks at these twice
            causes += label_causes(labels, "spec.template.labels")
            causes += annotation_causes(template["metadata"].get("annotations"), "spec.template.annotations")
        causes += _fixed_template_causes(template["spec"], controller)
        return causes
    return [*causes, *(_fixed_template_causes(template["spec"], controller) if controller == "StatefulSet" else [])]


def _unreadable(selector: Object, problem: str) -> Cause:
    cause = invalid("spec.selector", shown_selector(selector), problem)
    return cause if problem else Cause(cause.reason, cause.message.removesuffix(": "), cause.field)


def _fixed_template_causes(spec: Object, controller: str) -> list[Cause]:
    """What the pods of a controller cannot choose."""
    causes = []
    if spec["restartPolicy"] != "Always":
        causes.append(unsupported("spec.template.spec.restartPolicy", spec["restartPolicy"], ("Always",)))
    if "activeDeadlineSeconds" in spec:
        problem = f"activeDeadlineSeconds in {controller} is not Supported"
        causes.append(forbidden_value("spec.template.spec.activeDeadlineSeconds", problem))
    return causes


def _selector_change_causes(new: Object, old: Object | None) -> list[Cause]:
    selector = new["spec"]["selector"]
    if old is None or selector == old["spec"]["selector"]:
        return []
    return [invalid("spec.selector", shown_selector(selector), IMMUTABLE)]


def _strategy_causes(strategy: Object, field: str) -> list[Cause]:
    match strategy["type"]:
        case "Recreate":
            if "rollingUpdate" not in strategy:
                return []
            problem = "may not be specified when strategy `type` is 'Recreate'"
            return [forbidden_value(f"{field}.rollingUpdate", problem)]
        case "RollingUpdate":
            return _rolling_causes(strategy["rollingUpdate"], f"{field}.rollingUpdate")
    update = strategy.get("rollingUpdate")
    shown = update and {"MaxUnavailable": update.get("maxUnavailable", 0), "MaxSurge": update.get("maxSurge", 0)}
    held = {"Type": strategy["type"], "RollingUpdate": shown}
    return [unsupported(field, held, ("Recreate", "RollingUpdate"))]


def _rolling_causes(update: Object, field: str) -> list[Cause]:
    unavailable, surge = update["maxUnavailable"], update["maxSurge"]
    causes = int_or_percent_causes(unavailable, f"{field}.maxUnavailable")
    causes += int_or_percent_causes(surge, f"{field}.maxSurge")
    if not _number(unavailable) and not _number(surge):
        causes.append(invalid(f"{field}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    return [*causes, *percent_limit_causes(unavailable, f"{field}.maxUnavailable")]


def _set_strategy_causes(spec: Object) -> list[Cause]:
    causes = []
    management, strategy = spec["podManagementPolicy"], spec["updateStrategy"]
    if management not in ("OrderedReady", "Parallel"):
        causes.append(invalid("spec.podManagementPolicy", management, "must be 'OrderedReady' or 'Parallel'"))
    update = strategy.get("rollingUpdate")
    internal = update and {"Partition": update.get("partition", 0), "MaxUnavailable": update.get("maxUnavailable")}
    match strategy["type"]:
        case "RollingUpdate":
            partition = (update or {}).get("partition")
            causes += negative("spec.updateStrategy.rollingUpdate.partition", partition)
        case "OnDelete":
            if update is not None:
                problem = "only allowed for updateStrategy 'RollingUpdate'"
                causes.append(invalid("spec.updateStrategy.rollingUpdate", internal, problem))
        case other:
            held = {"Type": other, "RollingUpdate": internal}
            causes.append(invalid("spec.updateStrategy", held, "must be 'RollingUpdate' or 'OnDelete'"))
    return causes


def _with_claimed_volumes(spec: Object) -> Object:
    """The specification as its pods will have it: a volume for each claim, and names of the controller's choice."""
    claims = [claim["metadata"].get("name", "") for claim in spec.get("volumeClaimTemplates") or ()]
    claimed = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    pod = {name: value for name, value in spec["template"]["spec"].items() if name not in ("subdomain", "hostname")}
    others = [volume for volume in pod.get("volumes") or () if volume["name"] not in claims]
    return {**spec, "template": {**spec["template"], "spec": {**pod, "volumes": [*claimed, *others]}}}


def _fixed(spec: Object) -> Object:
    return {name: value for name, value in spec.items() if name not in _MUTABLE}


def _percent(value: int | str) -> int | None:
    return int(value[:-1]) if isinstance(value, str) and not formats.percentage(value) else None


def _number(value: int | str) -> int:
    """What a number of pods that may be a percentage comes to, roughly: only whether it is zero matters."""
    percent = _percent(value)
    if percent is not None:
        return percent
    return value if isinstance(value, int) else 0
