"""The rules for what a pod and its containers may do, and as whom."""

from typing import Any, Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import choice, each, invalid, unsupported
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

_PROFILES: Final = ("Localhost", "RuntimeDefault", "Unconfined")
_PROFILE_PARTS: Final = ("Type", "LocalhostProfile")
_INTERNAL: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "capabilities": ("Capabilities", ("Add", "Drop")),
    "privileged": ("Privileged", ()),
    "seLinuxOptions": ("SELinuxOptions", ("User", "Role", "Type", "Level")),
    "windowsOptions": (
        "WindowsOptions",
        ("GMSACredentialSpecName", "GMSACredentialSpec", "RunAsUserName", "HostProcess"),
    ),
    "runAsUser": ("RunAsUser", ()),
    "runAsGroup": ("RunAsGroup", ()),
    "runAsNonRoot": ("RunAsNonRoot", ()),
    "readOnlyRootFilesystem": ("ReadOnlyRootFilesystem", ()),
    "allowPrivilegeEscalation": ("AllowPrivilegeEscalation", ()),
    "procMount": ("ProcMount", ()),
    "seccompProfile": ("SeccompProfile", _PROFILE_PARTS),
    "appArmorProfile": ("AppArmorProfile", _PROFILE_PARTS),
}
"""The names that the fields have within the real server, in its order, and the parts of those that have some."""
_IDS: Final = ("fsGroup", "runAsUser", "runAsGroup")


def security_causes(context: Object, field: str, *, own_users: bool) -> list[Cause]:
    """What is wrong with a container's security context; `own_users`: the pod has a user namespace of its own."""
    causes = _id_causes(context, ("runAsUser", "runAsGroup"), field)
    mount = context.get("procMount")
    causes += choice(f"{field}.procMount", mount, ("Default", "Unmasked"))
    if mount == "Unmasked" and not own_users:
        causes.append(invalid(f"{field}.procMount", mount, "`hostUsers` must be false to use `Unmasked`"))
    causes += _seccomp_causes(context.get("seccompProfile"), f"{field}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            problem = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            causes.append(invalid(field, _internal(context), problem))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            problem = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            causes.append(invalid(field, _internal(context), problem))
    return [*causes, *_apparmor_causes(context.get("appArmorProfile"), f"{field}.appArmorProfile")]


def pod_security_causes(spec: Object, field: str) -> list[Cause]:
    """What is wrong with a pod's security context and with the namespaces that it shares with its node."""
    context, inside = spec.get("securityContext") or {}, f"{field}.securityContext"
    causes = _id_causes(context, _IDS, inside)
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        causes += each(f"{inside}.supplementalGroups[{index}]", group, formats.user_id(group))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        problem = "ShareProcessNamespace and HostPID cannot both be enabled"
        causes.append(invalid(f"{inside}.shareProcessNamespace", True, problem))
    policy = context.get("fsGroupChangePolicy")
    causes += choice(f"{inside}.fsGroupChangePolicy", policy, ("Always", "OnRootMismatch"))
    causes += _seccomp_causes(context.get("seccompProfile"), f"{inside}.seccompProfile")
    causes += _apparmor_causes(context.get("appArmorProfile"), f"{inside}.appArmorProfile")
    groups = context.get("supplementalGroupsPolicy")
    return [*causes, *choice(f"{inside}.supplementalGroupsPolicy", groups, ("Merge", "Strict"))]


def host_user_causes(spec: Object, field: str) -> list[Cause]:
    """What a pod that has a user namespace of its own must not share with its node."""
    if spec.get("hostUsers") is not False:
        return []
    shared = {"hostNetwork": "hostNetwork", "hostPID": "HostPID", "hostIPC": "HostIPC"}
    return [
        forbidden_value(f"{field}.{shown}", "when `hostUsers` is false")
        for name, shown in shared.items()
        if spec.get(name)
    ]


def _internal(context: Object) -> Object:
    """A security context as the real server holds it, of which a message shows everything."""
    return {field: _internal_value(context.get(name), parts) for name, (field, parts) in _INTERNAL.items()}


def _internal_value(value: Any, parts: tuple[str, ...]) -> Any:
    if not isinstance(value, dict):
        return value
    return {part: value.get(part[0].lower() + part[1:]) for part in parts}


def _id_causes(context: Object, names: tuple[str, ...], field: str) -> list[Cause]:
    causes = []
    for name in names:
        if name in context:
            causes += each(f"{field}.{name}", context[name], formats.user_id(context[name]))
    return causes


def _seccomp_causes(profile: Object | None, field: str) -> list[Cause]:
    if profile is None:
        return []
    causes = _profile_type_causes(profile["type"], field, "seccompProfile")
    path = profile.get("localhostProfile")
    if profile["type"] != "Localhost":
        if path is not None:
            internal = {"Type": profile["type"], "LocalhostProfile": path}
            problem = "can only be set when seccomp type is Localhost"
            causes.append(invalid(f"{field}.localhostProfile", internal, problem))
    elif path is None:
        causes.append(required(f"{field}.localhostProfile", "must be set when seccomp type is Localhost"))
    else:
        causes += each(f"{field}.localhostProfile", path, formats.relative_path(path))
    return causes


def _apparmor_causes(profile: Object | None, field: str) -> list[Cause]:
    if profile is None:
        return []
    causes = _profile_type_causes(profile["type"], field, "appArmorProfile")
    name = profile.get("localhostProfile")
    if profile["type"] == "Localhost":
        if not name:
            causes.append(required(f"{field}.localhostProfile", "must be set when AppArmor type is Localhost"))
        elif name.strip() != name:
            causes.append(invalid(f"{field}.localhostProfile", name, "must not be padded with whitespace"))
    elif profile["type"] in _PROFILES and name is not None:
        causes.append(invalid(f"{field}.localhostProfile", name, "can only be set when AppArmor type is Localhost"))
    return causes


def _profile_type_causes(profile: str, field: str, name: str) -> list[Cause]:
    if not profile:
        return [required(f"{field}.type", f"type is required when {name} is set")]
    return [] if profile in _PROFILES else [unsupported(f"{field}.type", profile, _PROFILES)]
