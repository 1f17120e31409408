"""Names and objects of new workers (contract 9.2, A8). Pure."""

import copy
import hashlib
import re
from typing import Final

from simulator.gpuunit import MANAGED_LABEL, MAX_UNIT_NAME, OPERATION_ID_ANNOTATION, serverless_of
from simulator.kube.kinds import GPUUNIT, Object

_NOT_NAME: Final = re.compile(r"[^a-z0-9]+")
_HASH_LENGTH: Final = 10


def worker_from(template: Object, operation_id: str, suffix: str) -> Object:
    """Return the GPUUnit of a new worker: the template's spec under a name of its own.

    `suffix` must be random. It goes into a hash with the pool, so pools whose names look alike share no worker's name.
    A worker of a template that is none itself is a worker all the same.
    """
    serverless = serverless_of(template)
    pool = serverless.request_id if serverless else ""
    spec = copy.deepcopy(template["spec"])
    (spec.get("serverless") or {}).pop("templateOnly", None)
    return {
        "apiVersion": GPUUNIT.api_version,
        "kind": GPUUNIT.kind,
        "metadata": {
            "name": _name(pool, suffix),
            "namespace": template["metadata"]["namespace"],
            "labels": {MANAGED_LABEL: "activator"},
            "annotations": {OPERATION_ID_ANNOTATION: operation_id},
        },
        "spec": spec,
    }


def _name(pool: str, suffix: str) -> str:
    end = hashlib.sha256(f"{pool}/{suffix}".encode()).hexdigest()[:_HASH_LENGTH]
    room = MAX_UNIT_NAME - len("unit--worker-") - _HASH_LENGTH
    base = _NOT_NAME.sub("-", pool).strip("-")[:room].strip("-") or "pool"
    return f"unit-{base}-worker-{end}"
