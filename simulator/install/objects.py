"""What the installed objects have in common: their frame, and the rules that every pod of the platform keeps."""

from typing import Final

from simulator.install.names import labels, selector
from simulator.kube.kinds import Kind, Object

USER: Final = 65532
"""User and group of the platform's containers: nobody's in particular, and never root."""

POD_SECURITY: Final = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def framed(kind: Kind, name: str, of: str, namespace: str | None = None, **content: object) -> Object:
    """An object that belongs to `of`, a part or the queue."""
    metadata: Object = {"name": name, "labels": labels(of)}
    if namespace is not None:
        metadata["namespace"] = namespace
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}


def spread(of: str) -> list[Object]:
    """Pods of one kind go to different nodes as far as there are any."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(of)},
        }
    ]


def http_probe(path: str, port: str, period_s: int, failures: int) -> Object:
    """A probe; it fails for good after `failures` times `period_s` seconds."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period_s,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def resources(cpu: str, memory: str, memory_limit: str) -> Object:
    """Requests and limits. There is no CPU limit: it would only slow down who could have gone on."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory_limit}}
