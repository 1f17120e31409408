"""Who a client is: the user and the groups that its credentials stand for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

AUTHENTICATED: Final = "system:authenticated"
UNAUTHENTICATED: Final = "system:unauthenticated"
MASTERS: Final = "system:masters"
"""The group that may do everything, whatever the roles say."""
NODES: Final = "system:nodes"
AUDIENCE: Final = "https://kubernetes.default.svc"
"""Whom every token is for: the API itself."""

_BEARER: Final = "bearer"
_SERVICE_ACCOUNT: Final = "system:serviceaccount:"
_NODE: Final = "system:node:"


@dataclass(frozen=True, slots=True)
class User:
    """A user by name, and the groups it belongs to. `extra` is what else is known of it, as keys and values."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


ADMIN: Final = User("gpuunit-sim-admin", (MASTERS, AUTHENTICATED))
"""The user of the written kubeconfig."""

ANONYMOUS: Final = User("system:anonymous", (UNAUTHENTICATED,))


def service_account(namespace: str, name: str) -> User:
    """The user that a service account is."""
    return User(f"{_SERVICE_ACCOUNT}{namespace}:{name}", (*service_account_groups(namespace), AUTHENTICATED))


def service_account_groups(namespace: str) -> tuple[str, ...]:
    """The groups of every service account of the namespace."""
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")


def as_service_account(user_name: str) -> tuple[str, str] | None:
    """Namespace and name of the service account that the user is, None if it is none."""
    namespace, separator, name = user_name.removeprefix(_SERVICE_ACCOUNT).partition(":")
    if not user_name.startswith(_SERVICE_ACCOUNT) or not (namespace and separator and name) or ":" in name:
        return None
    return namespace, name


def as_node(user_name: str) -> str | None:
    """The name of the node whose kubelet the user is, None if it is none."""
    return user_name.removeprefix(_NODE) if user_name.startswith(_NODE) and user_name != _NODE else None


def certificate_user(subject: Iterable[Iterable[tuple[str, str]]]) -> User | None:
    """The user of a verified client certificate: its common name, and an organisation per group.

    `subject` is in the form of `ssl.SSLSocket.getpeercert`.
    """
    pairs = [pair for part in subject for pair in part]
    names = [value for key, value in pairs if key == "commonName"]
    groups = [value for key, value in pairs if key == "organizationName"]
    return User(names[-1], (*groups, AUTHENTICATED)) if names else None


def bearer_token(authorization: str) -> str:
    """The token in an `Authorization` header; "" if there is none, of which an unknown one differs."""
    scheme, _, rest = authorization.strip().partition(" ")
    return rest.split(" ")[0] if scheme.lower() == _BEARER else ""
