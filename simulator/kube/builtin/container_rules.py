"""The rules for the containers of a pod: the regular ones, those that run before them, and the sidecars among these."""

from dataclasses import dataclass
from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import duplicate, each, invalid, too_many, unsupported
from simulator.kube.builtin.environment_rules import variable_causes, variables_from_causes
from simulator.kube.builtin.probe_rules import PROBES, lifecycle_causes, probe_causes
from simulator.kube.builtin.resource_rules import resize_causes, resource_causes
from simulator.kube.builtin.security_rules import security_causes
from simulator.kube.builtin.volume_rules import mount_causes
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES: Final = ("File", "FallbackToLogsOnError")
_RESTART_POLICIES: Final = ("Always", "Never", "OnFailure")
_RESTART_ACTIONS: Final = ("Restart", "RestartAllContainers")
_RESTART_OPERATORS: Final = ("In", "NotIn")
_NO_RESTART_POLICY: Final = "must specify restartPolicy when restart rules are used"
_MAX_RESTART_RULES: Final = 20
_MAX_EXIT_CODES: Final = 255


@dataclass(frozen=True, slots=True)
class PodContext:
    """What the rules for a container must know of its pod.

    `volumes` are those that are right, by name; `claims` the names of its resource claims; `grace_s` the seconds that
    it has to end, None if it does not say; `own_users`: it has a user namespace of its own.
    """

    volumes: dict[str, Object]
    claims: frozenset[str]
    grace_s: int | None
    restart_policy: str
    own_users: bool


def container_causes(containers: list[Object], pod: PodContext, field: str) -> list[Cause]:
    """What is wrong with a pod's regular containers."""
    if not containers:
        return [required(field, "")]
    causes = []
    names = set()
    for index, container in enumerate(containers):
        item = f"{field}[{index}]"
        causes += _common_causes(container, pod, item)
        if container["name"] in names:
            causes.append(duplicate(f"{item}.name", container["name"]))
        names.add(container["name"])
        causes += _running_causes(container, pod, item)
        causes += _restart_causes(container, item)
    return [*causes, *_host_port_causes(containers, field)]


def init_container_causes(containers: list[Object], regular: list[Object], pod: PodContext, field: str) -> list[Cause]:
    """What is wrong with the containers that a pod starts before the `regular` ones."""
    causes = []
    names = {container["name"] for container in regular}
    for index, container in enumerate(containers):
        item, sidecar = f"{field}[{index}]", container.get("restartPolicy") == "Always"
        causes += _common_causes(container, pod, item)
        causes += _init_restart_causes(container, item)
        if container["name"] in names:
            causes.append(duplicate(f"{item}.name", container["name"]))
        elif container["name"]:
            names.add(container["name"])
        causes += _host_port_causes([container], field)
        causes += _running_causes(container, pod, item) if sidecar else _not_running_causes(container, item)
    return causes


def image_space_causes(containers: list[Object], field: str) -> list[Cause]:
    """Images with blanks around them, which only the template of a pod may have."""
    problem = "must not have leading or trailing whitespace"
    return [
        invalid(f"{field}[{index}].image", container["image"], problem)
        for index, container in enumerate(containers)
        if container.get("image", "") != container.get("image", "").strip()
    ]


def _common_causes(container: Object, pod: PodContext, field: str) -> list[Cause]:
    name = container["name"]
    causes = each(f"{field}.name", name, formats.label(name)) if name else [required(f"{field}.name", "")]
    if not container.get("image"):
        causes.append(required(f"{field}.image", ""))
    if container["terminationMessagePolicy"] not in _MESSAGE_POLICIES:
        policy = container["terminationMessagePolicy"]
        causes.append(unsupported(f"{field}.terminationMessagePolicy", policy, _MESSAGE_POLICIES))
    causes += _port_causes(container.get("ports") or [], f"{field}.ports")
    causes += variable_causes(container.get("env") or [], f"{field}.env")
    causes += variables_from_causes(container.get("envFrom") or [], f"{field}.envFrom")
    causes += mount_causes(container, pod.volumes, field)
    if container["imagePullPolicy"] not in _PULL_POLICIES:
        causes.append(unsupported(f"{field}.imagePullPolicy", container["imagePullPolicy"], _PULL_POLICIES))
    causes += resource_causes(container.get("resources") or {}, pod.claims, f"{field}.resources")
    causes += resize_causes(container.get("resizePolicy") or [], pod.restart_policy, f"{field}.resizePolicy")
    if "securityContext" in container:
        context = container["securityContext"]
        causes += security_causes(context, f"{field}.securityContext", own_users=pod.own_users)
    return causes


def _running_causes(container: Object, pod: PodContext, field: str) -> list[Cause]:
    """What is wrong with what only a container that goes on running has."""
    lifecycle = container.get("lifecycle") or {}
    return [*lifecycle_causes(lifecycle, pod.grace_s, f"{field}.lifecycle"), *probe_causes(container, field)]


def _not_running_causes(container: Object, field: str) -> list[Cause]:
    problem = "may not be set for init containers without restartPolicy=Always"
    causes = [forbidden_value(f"{field}.{name}", problem) for name in ("lifecycle", *PROBES) if name in container]
    for index, policy in enumerate(container.get("resizePolicy") or ()):
        if policy["restartPolicy"] == "RestartContainer":
            resize = "must not be set to 'RestartContainer' for non-sidecar initContainers"
            causes.append(invalid(f"{field}.resizePolicy[{index}].restartPolicy", "RestartContainer", resize))
    return causes


def _port_causes(ports: list[Object], field: str) -> list[Cause]:
    causes: list[Cause] = []
    names = set()
    for index, port in enumerate(ports):
        item, name = f"{field}[{index}]", port.get("name")
        if name:
            problems = formats.port_name(name)
            causes += each(f"{item}.name", name, problems)
            if not problems and name in names:
                causes.append(duplicate(f"{item}.name", name))
            names.add(name)
        number = port["containerPort"]
        if not number:
            causes.append(required(f"{item}.containerPort", ""))
        else:
            causes += each(f"{item}.containerPort", number, formats.port_number(number))
        if port.get("hostPort"):
            causes += each(f"{item}.hostPort", port["hostPort"], formats.port_number(port["hostPort"]))
        if port["protocol"] not in PROTOCOLS:
            causes.append(unsupported(f"{item}.protocol", port["protocol"], PROTOCOLS))
    return causes


def _host_port_causes(containers: list[Object], field: str) -> list[Cause]:
    """Ports of the node that two of the containers want."""
    causes = []
    taken = set()
    for index, container in enumerate(containers):
        for number, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            wanted = f"{port['protocol']}/{port.get('hostIP', '')}/{port['hostPort']}"
            if wanted in taken:
                causes.append(duplicate(f"{field}[{index}].ports[{number}].hostPort", wanted))
            taken.add(wanted)
    return causes


def _init_restart_causes(container: Object, field: str) -> list[Cause]:
    """As for a regular container; but rules without a policy are not looked at."""
    if "restartPolicy" in container or not container.get("restartPolicyRules"):
        return _restart_causes(container, field)
    return [required(f"{field}.restartPolicy", _NO_RESTART_POLICY)]


def _restart_causes(container: Object, field: str) -> list[Cause]:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    causes = []
    if policy is None:
        if rules:
            causes.append(required(f"{field}.restartPolicy", _NO_RESTART_POLICY))
    elif policy not in _RESTART_POLICIES:
        causes.append(unsupported(f"{field}.restartPolicy", policy, _RESTART_POLICIES))
    if len(rules) > _MAX_RESTART_RULES:
        causes.append(too_many(f"{field}.restartPolicyRules", len(rules), _MAX_RESTART_RULES))
    for index, rule in enumerate(rules):
        causes += _restart_rule_causes(rule, f"{field}.restartPolicyRules[{index}]")
    return causes


def _restart_rule_causes(rule: Object, field: str) -> list[Cause]:
    causes = []
    action, codes = rule.get("action", ""), rule.get("exitCodes")
    if action not in _RESTART_ACTIONS:
        causes.append(unsupported(f"{field}.action", action, _RESTART_ACTIONS))
    if codes is None:
        return [*causes, required(f"{field}.exitCodes", "must be specified")]
    operator, values = codes.get("operator", ""), codes.get("values") or []
    if operator not in _RESTART_OPERATORS:
        causes.append(unsupported(f"{field}.exitCodes.operator", operator, _RESTART_OPERATORS))
    if len(values) > _MAX_EXIT_CODES:
        causes.append(too_many(f"{field}.exitCodes.values", len(values), _MAX_EXIT_CODES))
    return causes
