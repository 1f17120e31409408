"""The parts of the platform as Deployments, and the Service by which callers reach the API."""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from simulator.identities.secret import CREDENTIALS_KEY
from simulator.install.keys import OPERATOR_SEED, PlatformKeys, encoded
from simulator.install.names import (
    ACTIVATOR,
    API,
    API_PORT,
    HEALTH_PORT,
    ISSUER,
    KEYS_SECRET,
    KUBECONFIG_MAP,
    NATS,
    NATS_PORT,
    PARTS,
    PEOPLE,
    RECONCILER,
    Part,
    credentials_secret,
    labels,
    nats_host,
    selector,
)
from simulator.install.objects import CONTAINER_SECURITY, POD_SECURITY, framed, http_probe, resources, spread
from simulator.install.settings import InstallSettings
from simulator.kube.kinds import CONFIG_MAP, DEPLOYMENT, SECRET, SERVICE, Object

KEYS_HASH_ANNOTATION: Final = "gpuunit-sim/credentials-hash"
"""A pod reads its credentials once: with new ones it must be a new pod."""

_ACCOUNT_DIR: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_KUBECONFIG_DIR: Final = "/etc/unitsim"
_CREDENTIALS_DIR: Final = "/var/run/unitsim/nats"
_KEYS_DIR: Final = "/var/run/unitsim/keys"
_ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - a port-forward comes in by the pod's loopback, callers by its address
_SECRET_MODE: Final = 0o440
_GRACE_S: Final = 30
_SERVED_ON_S: Final = 5
"""How long a pod of the API that is to end serves on: until every node has heard that it leads no calls there."""
_MEMORY: Final = {API.name: ("192Mi", "1Gi"), ACTIVATOR.name: ("192Mi", "1Gi")}
_OTHERS_MEMORY: Final = ("128Mi", "512Mi")


def secrets_of(settings: InstallSettings, keys: PlatformKeys) -> list[Object]:
    """The keys, and the queue credentials of every part and of the people."""
    roles = [(role, part.name) for part in PARTS for role in part.roles] + [(role, "people") for role in PEOPLE]
    secrets = [_secret(KEYS_SECRET, ISSUER.name, settings, keys.secret_data())]
    for role, owner in roles:
        data = {CREDENTIALS_KEY: encoded(keys.credentials(role, settings.stream))}
        secrets.append(_secret(credentials_secret(role), owner, settings, data))
    return secrets


def kubeconfig_map(settings: InstallSettings) -> Object:
    """How a part finds the cluster: its own service account, whose token the kubelet renews in its file."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "cluster",
                "cluster": {
                    "server": "https://kubernetes.default.svc",
                    "certificate-authority": f"{_ACCOUNT_DIR}/ca.crt",
                },
            }
        ],
        "users": [{"name": "part", "user": {"tokenFile": f"{_ACCOUNT_DIR}/token"}}],
        "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": "part"}}],
        "current-context": "cluster",
    }
    text = msgspec.yaml.encode(config).decode()
    return framed(CONFIG_MAP, KUBECONFIG_MAP, "parts", settings.namespace, data={"kubeconfig": text})


def deployments(settings: InstallSettings, keys: PlatformKeys) -> list[Object]:
    """A Deployment for each part."""
    return [_deployment(part, settings, keys) for part in PARTS]


def api_service(settings: InstallSettings) -> Object:
    """Where callers reach the API; on a port of every node if one is given."""
    port: Object = {"name": "http", "port": API_PORT, "targetPort": "http", "protocol": "TCP"}
    if settings.api_node_port is not None:
        port["nodePort"] = settings.api_node_port
    kind = "ClusterIP" if settings.api_node_port is None else "NodePort"
    spec = {"type": kind, "selector": selector(API.name), "ports": [port]}
    return framed(SERVICE, API.deployment, API.name, settings.namespace, spec=spec)


def arguments(part: Part, settings: InstallSettings) -> list[str]:
    """The part's command line, after `unitsim`."""
    stream = settings.stream
    queue = ["--stream-name", stream.name, "--subject-prefix", stream.subjects.prefix]
    health = ["--health-host", "$(POD_IP)", "--health-port", str(HEALTH_PORT)]
    concurrency = str(settings.max_concurrency)
    mounted = [f"--{_flag(role)}={_credentials_file(role)}" for role in part.roles]
    if part == API:
        return ["api", *queue, *mounted, "--host", _ANY_ADDRESS, "--port", str(API_PORT), *health, "--verbose"]
    if part == ACTIVATOR:
        budget = [] if settings.gpu_budget is None else ["--gpu-budget", str(settings.gpu_budget)]
        return ["activator", *queue, *mounted, "--concurrency", concurrency, *budget, *health, "--verbose"]
    if part == RECONCILER:
        return ["reconciler", *queue, *_queue_for_units(settings), "--concurrency", concurrency, *health, "--verbose"]
    if part == ISSUER:
        trust = ["--operator-key", f"{_KEYS_DIR}/{OPERATOR_SEED}", "--queue-account", "$(QUEUE_ACCOUNT)"]
        return ["issuer", *queue, *mounted, *trust, "--concurrency", concurrency, *health, "--verbose"]
    return ["results", *queue, *mounted, *health, "--verbose"]


def _secret(name: str, owner: str, settings: InstallSettings, data: dict[str, str]) -> Object:
    return framed(SECRET, name, owner, settings.namespace, type="Opaque", data=data)


def _queue_for_units(settings: InstallSettings) -> list[str]:
    pods = [word for key, value in selector(NATS).items() for word in ("--queue-pod-label", f"{key}={value}")]
    return ["--sidecar-image", settings.image("sidecar"), "--queue-namespace", settings.namespace, *pods]


def _flag(role: str) -> str:
    return "accounts-credentials" if role == "accounts" else "credentials"


def _credentials_file(role: str) -> str:
    return f"{_CREDENTIALS_DIR}/{role}/{CREDENTIALS_KEY}"


def _deployment(part: Part, settings: InstallSettings, keys: PlatformKeys) -> Object:
    metadata: Object = {"labels": labels(part.name)}
    if part.roles:
        metadata["annotations"] = {KEYS_HASH_ANNOTATION: _digest(part, settings, keys)}
    spec: Object = {
        "replicas": part.replicas,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector(part.name)},
        "template": {"metadata": metadata, "spec": _pod(part, settings, keys)},
    }
    # Two of a part that does not share its work would undo each other's.
    spec["strategy"] = {"type": "RollingUpdate" if part.replicas > 1 else "Recreate"}
    return framed(DEPLOYMENT, part.deployment, part.name, settings.namespace, spec=spec)


def _pod(part: Part, settings: InstallSettings, keys: PlatformKeys) -> Object:
    volumes, mounts = _volumes(part)
    ports = {"health": HEALTH_PORT} | ({"http": API_PORT} if part == API else {})
    container = {
        "name": part.name,
        "image": settings.image("platform"),
        "imagePullPolicy": "IfNotPresent",
        "args": arguments(part, settings),
        "env": _environment(part, settings, keys),
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()],
        # Not ready while the queue is away, but alive: starting it again would not bring the queue back.
        "startupProbe": http_probe("/healthz", "health", 1, 120),
        "readinessProbe": http_probe("/readyz", "health", 5, 3),
        "livenessProbe": http_probe("/healthz", "health", 10, 3),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": resources("100m", *_MEMORY.get(part.name, _OTHERS_MEMORY)),
        "securityContext": dict(CONTAINER_SECURITY),
        "volumeMounts": mounts,
    }
    if part == API:
        wait = ["python3", "-c", f"import time; time.sleep({_SERVED_ON_S})"]
        container["lifecycle"] = {"preStop": {"exec": {"command": wait}}}
    return {
        "serviceAccountName": part.account,
        "automountServiceAccountToken": part.uses_cluster,
        "securityContext": dict(POD_SECURITY),
        "terminationGracePeriodSeconds": _GRACE_S,
        "topologySpreadConstraints": spread(part.name),
        "containers": [container],
        "volumes": volumes,
    }


def _environment(part: Part, settings: InstallSettings, keys: PlatformKeys) -> list[Object]:
    env: list[Object] = [
        {"name": "UNITSIM_NATS_URL", "value": f"nats://{nats_host(settings.namespace)}:{NATS_PORT}"},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    if part.uses_cluster:
        env.append({"name": "KUBECONFIG", "value": f"{_KUBECONFIG_DIR}/kubeconfig"})
    if part == ISSUER:
        env.append({"name": "QUEUE_ACCOUNT", "value": keys.queue_account})
    return env


def _volumes(part: Part) -> tuple[list[Object], list[Object]]:
    """The pod's volumes and where the container sees them."""
    volumes: list[Object] = []
    mounts: list[Object] = []

    def add(name: str, path: str, source: Mapping[str, object]) -> None:
        volumes.append({"name": name, **source})
        mounts.append({"name": name, "mountPath": path, "readOnly": True})

    if part.uses_cluster:
        add("kubeconfig", _KUBECONFIG_DIR, {"configMap": {"name": KUBECONFIG_MAP}})
    for role in part.roles:
        secret = {"secretName": credentials_secret(role), "defaultMode": _SECRET_MODE}
        add(f"nats-{role}", f"{_CREDENTIALS_DIR}/{role}", {"secret": secret})
    if part == ISSUER:
        items = [{"key": OPERATOR_SEED, "path": OPERATOR_SEED}]
        add("keys", _KEYS_DIR, {"secret": {"secretName": KEYS_SECRET, "defaultMode": _SECRET_MODE, "items": items}})
    return volumes, mounts


def _digest(part: Part, settings: InstallSettings, keys: PlatformKeys) -> str:
    texts = [keys.credentials(role, settings.stream) for role in part.roles]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
