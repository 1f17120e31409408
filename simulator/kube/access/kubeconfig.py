"""The kubeconfig with which a client comes to the API as some user."""

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from simulator.kube.access.users import ADMIN, User

if TYPE_CHECKING:
    from simulator.kube.access.certificates import Pair

NAME: Final = "gpuunit-sim"
"""Of the cluster, its context, and the administrator in it."""
NAMESPACE: Final = "runtime-instance"


def kubeconfig(server: str, authority: bytes, user: User, proof: "str | Pair") -> dict[str, Any]:
    """A kubeconfig whose current context is the server; `proof` is the user's token or client certificate."""
    name = NAME if user == ADMIN else user.name
    if isinstance(proof, str):
        shown = {"token": proof}
    else:
        shown = {"client-certificate-data": _base64(proof.certificate), "client-key-data": _base64(proof.key)}
    cluster = {"server": server, "certificate-authority-data": _base64(authority)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": name, "user": shown}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": name, "namespace": NAMESPACE}}],
        "current-context": NAME,
    }


def write_kubeconfig(path: Path, config: dict[str, Any]) -> None:
    """Write a kubeconfig that its owner only may read; one that is there is overwritten."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), 0o600)  # the file may have been there, with another mode
        json.dump(config, file, indent=2)  # JSON is YAML


def _base64(pem: bytes) -> str:
    return base64.b64encode(pem).decode("ascii")
