"""The rules for pods and for the templates that pods are made from."""

from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import choice, each, invalid, too_long
from simulator.kube.builtin.container_rules import (
    PodContext,
    container_causes,
    image_space_causes,
    init_container_causes,
)
from simulator.kube.builtin.metadata_rules import annotation_causes, label_causes
from simulator.kube.builtin.resource_rules import pod_resource_causes
from simulator.kube.builtin.scheduling_rules import affinity_causes, spread_causes, toleration_causes
from simulator.kube.builtin.security_rules import host_user_causes, pod_security_causes
from simulator.kube.builtin.volume_rules import volume_causes
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

_RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
_DNS_POLICIES: Final = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_SYSTEMS: Final = ("linux", "windows")
_MAX_NAMESERVERS: Final = 3
_MAX_SEARCH_PATHS: Final = 32
_MAX_SEARCH_CHARACTERS: Final = 2048
_MAX_HOSTNAME: Final = 64


def pod_causes(pod: Object) -> list[Cause]:
    """What is wrong with a pod, but for its metadata."""
    spec = pod["spec"]
    causes = pod_spec_causes(spec, "spec", pod_name=pod["metadata"].get("name") or "", in_pod=True)
    if not spec.get("serviceAccountName"):
        causes += _token_causes(spec.get("volumes") or [])
    causes += image_space_causes(spec.get("containers") or [], "spec.containers")
    return [*causes, *image_space_causes(spec.get("initContainers") or [], "spec.initContainers")]


def new_pod_causes(pod: Object) -> list[Cause]:
    """What is wrong with a pod that is to be created, but for its metadata."""
    causes = pod_causes(pod)
    if pod["spec"].get("ephemeralContainers"):
        causes.append(forbidden_value("spec.ephemeralContainers", "cannot be set on create"))
    if pod["spec"].get("nodeName") and pod["spec"].get("schedulingGates"):
        problem = "cannot be set until all schedulingGates have been cleared"
        causes.append(forbidden_value("spec.nodeName", problem))
    return causes


def template_causes(template: Object, field: str) -> list[Cause]:
    """What is wrong with the template that pods are made from."""
    metadata = template["metadata"]
    causes = [
        *label_causes(metadata.get("labels"), f"{field}.labels"),
        *annotation_causes(metadata.get("annotations"), f"{field}.annotations"),
        *pod_spec_causes(template["spec"], f"{field}.spec"),
    ]
    if template["spec"].get("ephemeralContainers"):
        problem = "ephemeral containers not allowed in pod template"
        causes.append(forbidden_value(f"{field}.spec.ephemeralContainers", problem))
    return causes


def pod_spec_causes(spec: Object, field: str, *, pod_name: str = "", in_pod: bool = False) -> list[Cause]:
    """What is wrong with the specification of a pod."""
    containers, before = spec.get("containers") or [], spec.get("initContainers") or []
    volumes, causes = volume_causes(spec.get("volumes") or [], pod_name, f"{field}.volumes")
    pod = PodContext(
        volumes=volumes,
        claims=frozenset(claim["name"] for claim in spec.get("resourceClaims") or ()),
        grace_s=spec.get("terminationGracePeriodSeconds"),
        restart_policy=spec["restartPolicy"],
        own_users=spec.get("hostUsers") is False,
    )
    causes += container_causes(containers, pod, f"{field}.containers")
    causes += init_container_causes(before, containers, pod, f"{field}.initContainers")
    causes += pod_resource_causes(spec.get("resources") or {}, f"{field}.resources")
    if spec.get("hostNetwork"):
        causes += _host_network_causes(containers, f"{field}.containers", in_pod=in_pod)
    causes += choice(f"{field}.restartPolicy", spec["restartPolicy"], _RESTART_POLICIES)
    causes += choice(f"{field}.dnsPolicy", spec["dnsPolicy"], _DNS_POLICIES)
    causes += label_causes(spec.get("nodeSelector"), f"{field}.nodeSelector")
    causes += pod_security_causes(spec, field)
    causes += affinity_causes(spec.get("affinity") or {}, f"{field}.affinity")
    causes += _dns_causes(spec.get("dnsConfig"), spec["dnsPolicy"], f"{field}.dnsConfig")
    causes += _gate_causes(spec, field)
    causes += spread_causes(spec.get("topologySpreadConstraints") or [], f"{field}.topologySpreadConstraints")
    causes += host_user_causes(spec, field)
    causes += _override_causes(spec, f"{field}.hostnameOverride")
    return [*causes, *_scalar_causes(spec, field)]


def _scalar_causes(spec: Object, field: str) -> list[Cause]:
    causes = []
    names = {
        "serviceAccountName": formats.subdomain,
        "nodeName": formats.subdomain,
        "hostname": formats.label,
        "subdomain": formats.label,
        "priorityClassName": formats.subdomain,
        "runtimeClassName": formats.subdomain,
    }
    for name, rule in names.items():
        if spec.get(name):
            causes += each(f"{field}.{name}", spec[name], rule(spec[name]))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        causes += each(f"{field}.activeDeadlineSeconds", deadline, formats.in_range(deadline, 1, formats.MAX_ID))
    causes += toleration_causes(spec.get("tolerations") or [], f"{field}.tolerations")
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        item = f"{field}.hostAliases[{index}]"
        causes += each(f"{item}.ip", alias["ip"], formats.ip_address(alias["ip"]))
        for number, hostname in enumerate(alias.get("hostnames") or ()):
            causes += each(f"{item}.hostnames[{number}]", hostname, formats.subdomain(hostname))
    causes += choice(f"{field}.preemptionPolicy", spec.get("preemptionPolicy"), ("PreemptLowerPriority", "Never"))
    system = (spec.get("os") or {}).get("name")
    if system == "":
        return [*causes, required(f"{field}.os.name", "cannot be empty")]
    return [*causes, *choice(f"{field}.os.name", system, _SYSTEMS)]


def _dns_causes(config: Object | None, policy: str, field: str) -> list[Cause]:
    servers: list[str] = (config or {}).get("nameservers") or []
    if policy == "None" and config is None:
        return [required(field, "must provide `dnsConfig` when `dnsPolicy` is None")]
    if policy == "None" and not servers:
        problem = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        return [required(f"{field}.nameservers", problem)]
    if config is None:
        return []
    causes = []
    if len(servers) > _MAX_NAMESERVERS:
        causes.append(
            invalid(f"{field}.nameservers", servers, f"must not have more than {_MAX_NAMESERVERS} nameservers")
        )
    for index, server in enumerate(servers):
        causes += each(f"{field}.nameservers[{index}]", server, formats.ip_address(server))
    searches: list[str] = config.get("searches") or []
    if len(searches) > _MAX_SEARCH_PATHS:
        causes.append(
            invalid(f"{field}.searches", searches, f"must not have more than {_MAX_SEARCH_PATHS} search paths")
        )
    if len(" ".join(searches)) > _MAX_SEARCH_CHARACTERS:
        problem = f"must not have more than {_MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list"
        causes.append(invalid(f"{field}.searches", searches, problem))
    for index, search in enumerate(searches):
        domain = search.removesuffix(".")
        if search != ".":
            causes += each(f"{field}.searches[{index}]", domain, formats.search_domain(domain))
    return [
        *causes,
        *(
            required(f"{field}.options[{index}]", "must not be empty")
            for index, option in enumerate(config.get("options") or ())
            if not option.get("name")
        ),
    ]


def _gate_causes(spec: Object, field: str) -> list[Cause]:
    causes: list[Cause] = []
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        name = gate["conditionType"]
        causes += each(f"{field}.readinessGates[{index}].conditionType", name, formats.qualified_name(name))
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        causes += each(f"{field}.schedulingGates[{index}]", gate["name"], formats.qualified_name(gate["name"]))
    return causes


def _override_causes(spec: Object, field: str) -> list[Cause]:
    name = spec.get("hostnameOverride")
    if name is None:
        return []
    others = [other for other in ("setHostnameAsFQDN", "hostNetwork") if spec.get(other)]
    causes = [forbidden_value(field, f"may not be specified when {other} is true") for other in others]
    if len(name.encode()) > _MAX_HOSTNAME:
        causes.append(too_long(field, _MAX_HOSTNAME))
    return [*causes, *each(field, name, formats.subdomain(name))]


def _host_network_causes(containers: list[Object], field: str, *, in_pod: bool) -> list[Cause]:
    problem = "must match `containerPort` when `hostNetwork` is true"
    return [
        invalid(f"{field}[{index}].ports[{number}].hostPort", port.get("hostPort", 0), problem)
        for index, container in enumerate(containers)
        for number, port in enumerate(container.get("ports") or ())
        if (in_pod or port.get("hostPort")) and port.get("hostPort", 0) != port["containerPort"]
    ]


def _token_causes(volumes: list[Object]) -> list[Cause]:
    problem = "must not be specified when serviceAccountName is not set"
    return [
        forbidden_value(f"spec.volumes[{index}].projected.sources[{number}].serviceAccountToken", problem)
        for index, volume in enumerate(volumes)
        for number, source in enumerate((volume.get("projected") or {}).get("sources") or ())
        if "serviceAccountToken" in source
    ]
