"""The rules for roles and for who has them."""

from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import each, invalid, unsupported
from simulator.kube.builtin.defaults import RBAC_GROUP
from simulator.kube.builtin.selector_rules import is_readable, selector_causes
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, required

_SUBJECTS: Final = ("ServiceAccount", "User", "Group")


def role_causes(new: Object, _old: Object | None) -> list[Cause]:
    """What is wrong with a Role, but for its metadata."""
    return _rules_causes(new.get("rules") or [], namespaced=True)


def cluster_role_causes(new: Object, _old: Object | None) -> list[Cause]:
    """What is wrong with a ClusterRole, but for its metadata."""
    causes = _rules_causes(new.get("rules") or [], namespaced=False)
    if "aggregationRule" not in new:
        return causes
    field = "aggregationRule.clusterRoleSelectors"
    selectors = new["aggregationRule"].get("clusterRoleSelectors") or []
    if not selectors:
        problem = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        causes.append(required(field, problem))
    for index, selector in enumerate(selectors):
        causes += selector_causes(selector, f"{field}[{index}]")
        if not is_readable(selector):
            causes.append(invalid(f"{field}[{index}]", None, "invalid label selector."))
    return causes


def role_binding_causes(new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a RoleBinding, but for its metadata."""
    return _binding_causes(new, old, ("Role", "ClusterRole"), namespaced=True)


def cluster_role_binding_causes(new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a ClusterRoleBinding, but for its metadata."""
    return _binding_causes(new, old, ("ClusterRole",), namespaced=False)


def _rules_causes(rules: list[Object], *, namespaced: bool) -> list[Cause]:
    causes = []
    for index, rule in enumerate(rules):
        item, urls = f"rules[{index}]", rule.get("nonResourceURLs")
        if not rule.get("verbs"):
            causes.append(required(f"{item}.verbs", "verbs must contain at least one value"))
        if urls:
            if namespaced:
                problem = "namespaced rules cannot apply to non-resource URLs"
                causes.append(invalid(f"{item}.nonResourceURLs", urls, problem))
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                problem = "rules cannot apply to both regular resources and non-resource URLs"
                causes.append(invalid(f"{item}.nonResourceURLs", urls, problem))
            continue
        if not rule.get("apiGroups"):
            causes.append(required(f"{item}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            causes.append(required(f"{item}.resources", "resource rules must supply at least one resource"))
    return causes


def _binding_causes(new: Object, old: Object | None, kinds: tuple[str, ...], *, namespaced: bool) -> list[Cause]:
    role = new["roleRef"]
    causes = []
    if role["apiGroup"] != RBAC_GROUP:
        causes.append(unsupported("roleRef.apiGroup", role["apiGroup"], (RBAC_GROUP,)))
    if role["kind"] not in kinds:
        causes.append(unsupported("roleRef.kind", role["kind"], kinds))
    if not role["name"]:
        causes.append(required("roleRef.name", ""))
    else:
        causes += each("roleRef.name", role["name"], formats.path_segment(role["name"]))
    for index, subject in enumerate(new.get("subjects") or ()):
        causes += _subject_causes(subject, f"subjects[{index}]", namespaced=namespaced)
    if old is not None and role != old["roleRef"]:
        shown = {"APIGroup": role["apiGroup"], "Kind": role["kind"], "Name": role["name"]}
        causes.append(invalid("roleRef", shown, "cannot change roleRef"))
    return causes


def _subject_causes(subject: Object, field: str, *, namespaced: bool) -> list[Cause]:
    name, kind, group = subject["name"], subject["kind"], subject.get("apiGroup") or ""
    causes = [] if name else [required(f"{field}.name", "")]
    if kind not in _SUBJECTS:
        return [*causes, unsupported(f"{field}.kind", kind, _SUBJECTS)]
    wanted = "" if kind == "ServiceAccount" else RBAC_GROUP
    if kind == "ServiceAccount" and name:
        causes += each(f"{field}.name", name, formats.subdomain(name))
    if group != wanted:
        causes.append(unsupported(f"{field}.apiGroup", group, (wanted,)))
    if kind == "ServiceAccount" and not namespaced and not subject.get("namespace"):
        causes.append(required(f"{field}.namespace", ""))
    return causes
