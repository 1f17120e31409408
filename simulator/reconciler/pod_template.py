"""The containers and volumes of a unit's pod (contract 6.2 and 6.3): the user's program and, beside it, the sidecar.

The sidecar alone gets the queue's address and credentials (S22, C9: from a Secret). It runs under a user of its own, so
that the user's program, whose user is its image's affair, cannot look into it; a group that both have lets them share
the socket (S24).
"""

from framework.contract import HEALTH_PATH_ENV, INVOKE_PATH_ENV, SOCKET_DIR, SOCKET_PATH_ENV
from sidecar.durations import format_duration
from sidecar.subjects import sidecar_consumer
from simulator.gpuunit import RUNTIME_CONTAINER, SIDECAR_CONTAINER, ServerlessSpec, object_labels
from simulator.identities.secret import CREDENTIALS_KEY, secret_name
from simulator.kube.kinds import Object
from simulator.reconciler.quantity import format_bytes, parse_bytes
from simulator.reconciler.settings import ReconcilerSettings
from simulator.reconciler.spec import SHM_DIR, UnitSpec

GPU_RESOURCE = "nvidia.com/gpu"
CREDENTIALS_DIR = "/var/run/serverless-sidecar"

SHARED_GROUP = 64100
"""Group of the pod's volumes, and one of the groups of each of its containers."""
SIDECAR_USER = 64101
"""User and group of the sidecar. It and the shared group are from a range that systems and images give to nobody."""

_SOCKET_VOLUME = "serverless-framework-socket"
_SHM_VOLUME = "runtime-shm"
_CREDENTIALS_VOLUME = "serverless-nats-credentials"
_CREDENTIALS_MODE = 0o440
_SLEEP = ["sh", "-c", "sleep 3600"]
_STARTUP_FAILURE_THRESHOLD = 30
_MESSAGE_POLICY = "FallbackToLogsOnError"
"""So that the unit's status can say why a program ended: the end of its log."""

_DROPPED_CAPABILITIES = (
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "BLOCK_SUSPEND",
    "DAC_READ_SEARCH",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "SETPCAP",
    "SYS_ADMIN",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "WAKE_ALARM",
)


def pod_template_for(spec: UnitSpec, settings: ReconcilerSettings) -> Object:
    """Return the pod template of a unit; the sidecar is a restartable init container, so that it starts first."""
    runtime = _runtime_container(spec)
    # A pod has a token for the cluster's API unless it says no; the user's program is to have none.
    pod: Object = {"automountServiceAccountToken": False, "containers": [runtime]}
    if spec.serverless:
        runtime["lifecycle"] = _drain_first(settings)
        pod["initContainers"] = [_sidecar_container(spec, spec.serverless, settings)]
        pod["securityContext"] = {"fsGroup": SHARED_GROUP}
    if volumes := _volumes(spec, settings):
        pod["volumes"] = volumes
    return {"metadata": {"labels": object_labels(spec.name)}, "spec": pod}


def _runtime_container(spec: UnitSpec) -> Object:
    container: Object = {
        "name": RUNTIME_CONTAINER,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": _MESSAGE_POLICY,
        "env": _runtime_env(spec),
        "securityContext": _security_context(),
    }
    if command := _command(spec):
        container["command"] = command
    if spec.args:
        container["args"] = list(spec.args)
    if spec.ports:
        container["ports"] = [
            {"name": port.name, "containerPort": port.number, "protocol": port.protocol} for port in spec.ports
        ]
    if resources := _resources(spec):
        container["resources"] = {"requests": resources, "limits": dict(resources)}
    if mounts := _runtime_mounts(spec):
        container["volumeMounts"] = mounts
    return container


def _drain_first(settings: ReconcilerSettings) -> Object:
    # Main containers are stopped before sidecars: without this the running calls would be cut off (S14).
    return {"preStop": {"httpGet": {"path": "/drain", "port": settings.health_port}}}


def _command(spec: UnitSpec) -> list[str]:
    # A serverless unit without a command runs its image's own entrypoint: one that only slept could never serve (M6).
    if spec.command or spec.args or spec.serverless:
        return list(spec.command)
    return list(_SLEEP)


def _runtime_env(spec: UnitSpec) -> list[Object]:
    env = [
        ("SPEC_NAME", spec.spec_name),
        ("UNIT_NAME", spec.name),
        ("GPU_COUNT", str(spec.gpu)),
        ("MEMORY_LIMIT", spec.memory),
        *spec.envs,
    ]
    if spec.serverless:
        env += [
            ("SERVERLESS_REQUEST_ID", spec.serverless.request_id),
            ("SERVERLESS_WORKER_NAME", spec.name),
            ("SERVERLESS_WORKER_NAMESPACE", spec.namespace),
            *_framework_env(spec.serverless),
        ]
    return _env(env)


def _sidecar_container(spec: UnitSpec, serverless: ServerlessSpec, settings: ReconcilerSettings) -> Object:
    return {
        "name": SIDECAR_CONTAINER,
        "image": settings.sidecar_image,
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": _MESSAGE_POLICY,
        "restartPolicy": "Always",
        "env": _sidecar_env(spec, serverless, settings),
        "startupProbe": {
            "httpGet": {"path": "/healthz", "port": settings.health_port},
            "periodSeconds": 1,
            "failureThreshold": _STARTUP_FAILURE_THRESHOLD,
        },
        # Ready means that framework, queue and consumer are there, so the pod's readiness can be believed (C1).
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": settings.health_port}, "periodSeconds": 1},
        "securityContext": {**_security_context(), "runAsUser": SIDECAR_USER, "runAsGroup": SIDECAR_USER},
        "volumeMounts": [_socket_mount(), *([_credentials_mount()] if settings.worker_credentials else [])],
    }


def _sidecar_env(spec: UnitSpec, serverless: ServerlessSpec, settings: ReconcilerSettings) -> list[Object]:
    env = _env(
        [
            ("SERVERLESS_NATS_URL", settings.nats_url),
            ("SERVERLESS_SUBJECT_PREFIX", settings.subject_prefix),
            ("SERVERLESS_STREAM_NAME", settings.stream_name),
            ("SERVERLESS_WORKER_NAME", spec.name),
            ("SERVERLESS_WORKER_NAMESPACE", spec.namespace),
            ("SERVERLESS_REQUEST_ID", serverless.request_id),
            ("SERVERLESS_WORKER_CONSUMER_NAME", sidecar_consumer(spec.name)),
            ("SERVERLESS_HEARTBEAT_INTERVAL", format_duration(settings.heartbeat_interval_s)),
            *_framework_env(serverless),
            ("SERVERLESS_SIDECAR_HEALTH_PORT", str(settings.health_port)),
        ]
    )
    # The kubelet probes the pod's address; a sidecar that listens there listens nowhere else.
    env.append({"name": "SERVERLESS_SIDECAR_HEALTH_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
    if settings.dispatch_max_deliver is not None:
        env += _env([("SERVERLESS_DISPATCH_MAX_DELIVER", str(settings.dispatch_max_deliver))])
    if settings.dispatch_backoff_s:
        backoff = ",".join(format_duration(delay_s) for delay_s in settings.dispatch_backoff_s)
        env += _env([("SERVERLESS_DISPATCH_BACKOFF", backoff)])
    if settings.max_concurrency is not None:
        env += _env([("SERVERLESS_MAX_CONCURRENCY", str(settings.max_concurrency))])
    if settings.worker_credentials:
        env += _env([("SERVERLESS_NATS_CREDENTIALS_FILE", f"{CREDENTIALS_DIR}/{CREDENTIALS_KEY}")])
    return env


def _framework_env(serverless: ServerlessSpec) -> list[tuple[str, str]]:
    return [
        (SOCKET_PATH_ENV, serverless.socket_path),
        (INVOKE_PATH_ENV, serverless.invoke_path),
        (HEALTH_PATH_ENV, serverless.health_path),
    ]


def _env(pairs: list[tuple[str, str]]) -> list[Object]:
    """Variables in order; of one that is there twice the last, which would win: an apply takes each name once."""
    last = {name: index for index, (name, _) in enumerate(pairs)}
    return [{"name": name, "value": value} for index, (name, value) in enumerate(pairs) if last[name] == index]


def _security_context() -> Object:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": list(_DROPPED_CAPABILITIES)},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _resources(spec: UnitSpec) -> dict[str, str]:
    wanted = {"memory": spec.memory, GPU_RESOURCE: str(spec.gpu or "")}
    return {name: quantity for name, quantity in wanted.items() if quantity}


def _runtime_mounts(spec: UnitSpec) -> list[Object]:
    mounts = [{"name": f"storage-{index}", "mountPath": mount.path} for index, mount in enumerate(spec.storage_mounts)]
    if spec.memory:
        mounts.append({"name": _SHM_VOLUME, "mountPath": SHM_DIR})
    if spec.serverless:
        mounts.append(_socket_mount())
    return mounts


def _socket_mount() -> dict[str, str]:
    return {"name": _SOCKET_VOLUME, "mountPath": SOCKET_DIR}


def _credentials_mount() -> Object:
    return {"name": _CREDENTIALS_VOLUME, "mountPath": CREDENTIALS_DIR, "readOnly": True}


def _volumes(spec: UnitSpec, settings: ReconcilerSettings) -> list[Object]:
    volumes: list[Object] = [
        {"name": f"storage-{index}", "persistentVolumeClaim": {"claimName": mount.claim}}
        for index, mount in enumerate(spec.storage_mounts)
    ]
    if spec.memory:
        half = format_bytes(parse_bytes(spec.memory) // 2)
        volumes.append({"name": _SHM_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": half}})
    if spec.serverless:
        volumes.append({"name": _SOCKET_VOLUME, "emptyDir": {}})
    if spec.serverless and settings.worker_credentials:
        secret = {"secretName": secret_name(spec.name), "defaultMode": _CREDENTIALS_MODE}
        volumes.append({"name": _CREDENTIALS_VOLUME, "secret": secret})
    return volumes
