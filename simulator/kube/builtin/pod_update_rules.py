"""What may be changed in a pod that exists: little, for it may be running."""

import difflib
import json
from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import each, invalid
from simulator.kube.builtin.pod_rules import pod_causes
from simulator.kube.builtin.scheduling_rules import toleration_causes
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

_CHANGEABLE: Final = ",".join(
    (
        "`spec.containers[*].image`",
        "`spec.initContainers[*].image`",
        "`spec.activeDeadlineSeconds`",
        "`spec.tolerations` (only additions to existing tolerations)",
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
    )
)
_LISTS: Final = ("containers", "initContainers")


def pod_update_causes(new: Object, old: Object) -> list[Cause]:
    """What is wrong with a pod that is to replace another, but for its metadata."""
    causes = pod_causes(new)
    spec, before = new["spec"], old["spec"]
    for name in _LISTS:
        containers = spec.get(name) or []
        if len(containers) != len(before.get(name) or []):
            return [*causes, forbidden_value(f"spec.{name}", "pod updates may not add or remove containers")]
        causes += _image_causes(containers, f"spec.{name}")
    wrong, is_over = _deadline_causes(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    causes += wrong
    if is_over:
        return causes
    causes += _toleration_causes(spec.get("tolerations") or [], before.get("tolerations") or [])
    causes += _gate_causes(spec.get("schedulingGates") or [], before.get("schedulingGates") or [])
    if before.get("schedulingGates"):
        causes += _selector_causes(spec.get("nodeSelector") or {}, before.get("nodeSelector") or {})
    kept = _with_old_fields(spec, before)
    return [*causes, *_rest_causes(kept, before)]


def _image_causes(containers: list[Object], field: str) -> list[Cause]:
    causes = []
    for index, container in enumerate(containers):
        image = container.get("image") or ""
        if not image:
            causes.append(required(f"{field}[{index}].image", ""))
        if image != image.strip():
            problem = "must not have leading or trailing whitespace"
            causes.append(invalid(f"{field}[{index}].image", image, problem))
    return causes


def _deadline_causes(new: int | None, old: int | None) -> tuple[list[Cause], bool]:
    """What is wrong with the change of the deadline, and whether nothing else is looked at then."""
    field = "spec.activeDeadlineSeconds"
    if new is None:
        problem = "must not update from a positive integer to nil value"
        return ([] if old is None else [invalid(field, None, problem)]), False
    if problems := formats.in_range(new, 0, formats.MAX_ID):
        return each(field, new, problems), True
    if old is not None and old < new:
        return [invalid(field, new, "must be less than or equal to previous value")], True
    return [], False


def _toleration_causes(new: list[Object], old: list[Object]) -> list[Cause]:
    def fixed(toleration: Object) -> Object:
        return {name: value for name, value in toleration.items() if name != "tolerationSeconds"}

    known = [fixed(toleration) for toleration in new]
    if any(fixed(toleration) not in known for toleration in old):
        problem = "existing toleration can not be modified except its tolerationSeconds"
        return [forbidden_value("spec.tolerations", problem)]
    return toleration_causes(new, "spec.tolerations")


def _gate_causes(new: list[Object], old: list[Object]) -> list[Cause]:
    known = {gate["name"] for gate in old}
    problem = "only deletion is allowed, but found new scheduling gate"
    return [
        forbidden_value(f"spec.schedulingGates[{index}].name", f"{problem} '{gate['name']}'")
        for index, gate in enumerate(new)
        if gate["name"] not in known
    ]


def _selector_causes(new: dict[str, str], old: dict[str, str]) -> list[Cause]:
    if all(new.get(name) == value for name, value in old.items()):
        return []
    return [
        invalid("spec.nodeSelector", new, "only additions to spec.nodeSelector are allowed (no mutations or deletions)")
    ]


def _with_old_fields(spec: Object, before: Object) -> Object:
    """The new specification with the old values of what may be changed."""
    kept = dict(spec)
    for name in _LISTS:
        if name in spec:
            pairs = zip(spec[name], before[name], strict=True)
            kept[name] = [{**container, "image": was.get("image", "")} for container, was in pairs]
    names = ["activeDeadlineSeconds", "schedulingGates", "tolerations"]
    if before.get("terminationGracePeriodSeconds", 0) < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        names.append("terminationGracePeriodSeconds")
    if before.get("schedulingGates"):
        names.append("nodeSelector")
    for name in names:
        kept.pop(name, None)
        if name in before:
            kept[name] = before[name]
    return kept


def _rest_causes(spec: Object, before: Object) -> list[Cause]:
    if spec == before:
        return []
    old_lines, new_lines = (
        json.dumps(value, indent=1, sort_keys=True).splitlines(keepends=True) for value in (before, spec)
    )
    difference = "".join(list(difflib.unified_diff(old_lines, new_lines))[2:])
    return [forbidden_value("spec", f"pod updates may not change fields other than {_CHANGEABLE}\n{difference}")]
