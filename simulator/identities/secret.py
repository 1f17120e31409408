"""The Secret that carries a worker's queue credentials into its pod: its name, its one key, the object (S22, C9)."""

import base64
from typing import Final

from simulator.gpuunit import object_labels, owner_reference
from simulator.kube.kinds import SECRET, Object

CREDENTIALS_KEY: Final = "nats.creds"
"""Key of the Secret, and so the name of the file in the volume that mounts it."""


def secret_name(unit_name: str) -> str:
    """Name of the Secret with the credentials of the unit's sidecar; it is in the unit's namespace."""
    return f"{unit_name}-nats"


def secret_for(unit: Object, credentials: str) -> Object:
    """The Secret of a unit; it belongs to the unit and is collected with it."""
    metadata = unit["metadata"]
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "metadata": {
            "name": secret_name(metadata["name"]),
            "namespace": metadata["namespace"],
            "labels": object_labels(metadata["name"]),
            "ownerReferences": [owner_reference(unit)],
        },
        "type": "Opaque",
        "data": {CREDENTIALS_KEY: base64.b64encode(credentials.encode()).decode()},
    }


def credentials_in(secret: Object) -> str:
    """The credentials that a Secret carries.

    Raises:
        ValueError: it carries none.
    """
    return base64.b64decode((secret.get("data") or {}).get(CREDENTIALS_KEY, ""), validate=True).decode("ascii")
