"""What the cluster puts into every pod at its creation: an identity with its token, tolerations and a priority."""

from collections.abc import Callable
from typing import Any, Final

from simulator.kube.kinds import POD, Object
from simulator.kube.status import ApiFailure

TOKEN_VOLUME: Final = "kube-api-access-"  # noqa: S105 - the beginning of a name
TOKEN_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
_MIRROR: Final = "kubernetes.io/config.mirror"
_TOKEN_SECONDS: Final = 3607
_TOLERATION_SECONDS: Final = 300
_TAINTS: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_PRIORITIES: Final = {"": 0, "system-cluster-critical": 2000000000, "system-node-critical": 2000001000}
_ACCOUNTS_PROBLEM: Final = "error looking up service account"


def admitted_pod(pod: Object, account: Callable[[str], Object | None], suffix: Callable[[], str]) -> Object:
    """A pod that has its defaults, as it enters the cluster.

    `account` gives the pod's namespace's ServiceAccount of a name, None if there is none; `suffix` makes the random end
    of the name of the volume with the token.

    Raises:
        ApiFailure: 403; there is no such account or priority class, or the pod says what follows from its class.
    """
    metadata, spec = pod["metadata"], dict(pod["spec"])
    name = metadata.get("name", "")
    spec["tolerations"] = with_default_tolerations(spec.get("tolerations") or [])
    if _MIRROR not in (metadata.get("annotations") or {}):
        account_name = spec.get("serviceAccountName") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = account_name
        found = account(account_name)
        if found is None:
            path = f"{metadata.get('namespace', '')}/{account_name}"
            problem = f'{_ACCOUNTS_PROBLEM} {path}: serviceaccount "{account_name}" not found'
            raise _forbidden(name, problem)
        if _wants_token(spec, found):
            spec |= _with_token(spec, suffix)
        if not spec.get("imagePullSecrets") and found.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [{"name": secret.get("name", "")} for secret in found["imagePullSecrets"]]
    return {**pod, "spec": spec | _priority(spec, name)}


def with_default_tolerations(tolerations: list[Object]) -> list[Object]:
    """Pods stay for a while on a node that is not ready, or not to be reached, unless they say how long themselves."""
    missing = [
        taint
        for taint in _TAINTS
        if not any(
            toleration.get("key", "") in ("", taint) and toleration.get("effect", "") in ("", "NoExecute")
            for toleration in tolerations
        )
    ]
    rule = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _TOLERATION_SECONDS}
    return [*tolerations, *({"key": taint, **rule} for taint in missing)]


def _wants_token(spec: Object, account: Object) -> bool:
    own = spec.get("automountServiceAccountToken")
    return bool(account.get("automountServiceAccountToken", True) if own is None else own)


def _with_token(spec: Object, suffix: Callable[[], str]) -> dict[str, Any]:
    """The volumes and containers of the pod, with the token of its account in each container that has not another."""
    volumes = spec.get("volumes") or []
    present = next((volume["name"] for volume in volumes if volume["name"].startswith(TOKEN_VOLUME)), None)
    name = present or f"{TOKEN_VOLUME}{suffix()}"
    mount = {"name": name, "readOnly": True, "mountPath": TOKEN_PATH}
    mounted: dict[str, Any] = {}
    needed = False
    for part in ("initContainers", "containers"):
        containers = []
        for container in spec.get(part) or ():
            mounts = container.get("volumeMounts") or []
            if any(other["mountPath"] == TOKEN_PATH for other in mounts):
                containers.append(container)
            else:
                needed = True
                containers.append({**container, "volumeMounts": [*mounts, mount]})
        if containers:
            mounted[part] = containers
    if needed and present is None:
        mounted["volumes"] = [*volumes, {"name": name, "projected": _token_sources()}]
    return mounted


def _token_sources() -> Object:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ],
        "defaultMode": 420,
    }


def _priority(spec: Object, name: str) -> dict[str, Any]:
    named = spec.get("priorityClassName", "")
    if named not in _PRIORITIES:
        raise _forbidden(name, f"no PriorityClass with name {named} was found")
    priority, policy = _PRIORITIES[named], "PreemptLowerPriority"
    derived = "must not be provided in pod spec; priority admission controller computed"
    if spec.get("priority", priority) != priority:
        problem = f"the integer value of priority ({spec['priority']}) {derived} {priority}"
        raise _forbidden(name, f"{problem} from the given PriorityClass name")
    if spec.get("preemptionPolicy", policy) != policy:
        problem = f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) {derived} {policy}"
        raise _forbidden(name, f"{problem} from the given PriorityClass name")
    return {"priority": priority, "preemptionPolicy": policy}


def _forbidden(name: str, problem: str) -> ApiFailure:
    details = {"name": name, "kind": POD.plural}
    return ApiFailure(403, f'pods "{name}" is forbidden: {problem}', "Forbidden", details)
