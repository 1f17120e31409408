"""The queue in the cluster: one nats-server that keeps the stream, and the workers' accounts, on a volume."""

import hashlib
from typing import Final

import msgspec

from simulator.identities.authority import resolver_settings
from simulator.install.keys import PlatformKeys
from simulator.install.names import NATS, NATS_CONFIG_MAP, NATS_MONITOR_PORT, NATS_OUTSIDE, NATS_PORT, labels, selector
from simulator.install.objects import CONTAINER_SECURITY, POD_SECURITY, framed, http_probe, resources, spread
from simulator.install.settings import InstallSettings
from simulator.kube.kinds import CONFIG_MAP, SERVICE, STATEFUL_SET, Object

CONFIG_KEY: Final = "nats-server.conf"
CONFIG_HASH_ANNOTATION: Final = "gpuunit-sim/config-hash"
_CONFIG_DIR: Final = "/etc/nats"
_DATA_DIR: Final = "/data"
_GRACE_S: Final = 60
"""The server tells its clients first that it goes (lame duck), so that they are elsewhere or wait when it is gone."""


def queue_objects(settings: InstallSettings, keys: PlatformKeys) -> list[Object]:
    """The objects of the queue: its configuration, its Services and the server itself."""
    config = server_config(settings, keys)
    objects = [
        framed(CONFIG_MAP, NATS_CONFIG_MAP, NATS, settings.namespace, data={CONFIG_KEY: config}),
        _service(settings),
        _stateful_set(settings, hashlib.sha256(config.encode()).hexdigest()),
    ]
    if settings.nats_node_port is not None:
        objects.append(_outer_service(settings, settings.nats_node_port))
    return objects


def server_config(settings: InstallSettings, keys: PlatformKeys) -> str:
    """The server's configuration file; JSON is part of its syntax. It holds public keys and signed tokens only."""
    config = {
        "server_name": "$POD_NAME",
        "port": NATS_PORT,
        "http_port": NATS_MONITOR_PORT,
        "lame_duck_grace_period": "5s",
        "lame_duck_duration": "30s",
        "jetstream": {"store_dir": f"{_DATA_DIR}/jetstream"},
        "resolver": resolver_settings(f"{_DATA_DIR}/accounts"),
        **keys.server_settings(settings.stream),
    }
    # The server replaces a variable only where it is not quoted.
    return msgspec.json.format(msgspec.json.encode(config)).decode().replace('"$POD_NAME"', "$POD_NAME") + "\n"


def _service(settings: InstallSettings) -> Object:
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": False,
        "selector": selector(NATS),
        "ports": [{"name": "nats", "port": NATS_PORT, "targetPort": "nats", "protocol": "TCP"}],
    }
    return framed(SERVICE, NATS, NATS, settings.namespace, spec=spec)


def _outer_service(settings: InstallSettings, node_port: int) -> Object:
    port = {"name": "nats", "port": NATS_PORT, "targetPort": "nats", "protocol": "TCP", "nodePort": node_port}
    spec = {"type": "NodePort", "selector": selector(NATS), "ports": [port]}
    return framed(SERVICE, NATS_OUTSIDE, NATS, settings.namespace, spec=spec)


def _stateful_set(settings: InstallSettings, config_hash: str) -> Object:
    volume: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": settings.storage}}}
    if settings.storage_class is not None:
        volume["storageClassName"] = settings.storage_class
    claim = {"metadata": {"name": "data", "labels": labels(NATS)}, "spec": volume}
    spec: Object = {
        "serviceName": NATS,
        "replicas": 1,
        "selector": {"matchLabels": selector(NATS)},
        "template": {
            "metadata": {"labels": labels(NATS), "annotations": {CONFIG_HASH_ANNOTATION: config_hash}},
            "spec": _pod(settings),
        },
        "volumeClaimTemplates": [claim],
    }
    return framed(STATEFUL_SET, NATS, NATS, settings.namespace, spec=spec)


def _pod(settings: InstallSettings) -> Object:
    return {
        "automountServiceAccountToken": False,
        "securityContext": dict(POD_SECURITY),
        "terminationGracePeriodSeconds": _GRACE_S,
        "topologySpreadConstraints": spread(NATS),
        "containers": [
            {
                "name": NATS,
                "image": settings.nats_image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["nats-server"],
                "args": ["--config", f"{_CONFIG_DIR}/{CONFIG_KEY}"],
                "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "ports": [
                    {"name": "nats", "containerPort": NATS_PORT, "protocol": "TCP"},
                    {"name": "monitor", "containerPort": NATS_MONITOR_PORT, "protocol": "TCP"},
                ],
                "lifecycle": {"preStop": {"exec": {"command": ["nats-server", "--signal", "ldm=1"]}}},
                "startupProbe": http_probe("/healthz", "monitor", 1, 120),
                "readinessProbe": http_probe("/healthz?js-server-only=true", "monitor", 5, 3),
                "livenessProbe": http_probe("/healthz?js-enabled-only=true", "monitor", 10, 3),
                "resources": resources("100m", "128Mi", "1Gi"),
                "securityContext": dict(CONTAINER_SECURITY),
                "volumeMounts": [
                    {"name": "config", "mountPath": _CONFIG_DIR, "readOnly": True},
                    {"name": "data", "mountPath": _DATA_DIR},
                ],
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": NATS_CONFIG_MAP}}],
    }
