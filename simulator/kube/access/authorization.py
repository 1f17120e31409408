"""Decides on each request by the roles and bindings that are stored; a user's are read once after each change."""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from simulator.kube.access.attributes import Attributes
from simulator.kube.access.rbac import Grants, grants_of
from simulator.kube.access.users import User
from simulator.kube.history import Listener
from simulator.kube.kinds import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING, Kind, Object
from simulator.kube.status import forbidden

_REMEMBERED: Final = 1000
"""Users in namespaces whose grants are kept: far more than the clients of one cluster."""


class RbacObjects(Protocol):
    """Where roles and bindings are: a ResourceStore."""

    def list(self, kind: Kind, namespace: str | None = None) -> Iterable[Object]:
        """The objects of a namespace, or of all."""
        ...

    def listen(self, kind: Kind, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of each change."""
        ...


class Authorizer:
    """What each user may do by the roles and bindings of a store."""

    def __init__(self, objects: RbacObjects) -> None:
        self._objects = objects
        self._grants: dict[tuple[User, str], Grants] = {}
        for kind in (CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING):
            objects.listen(kind, lambda _: self._grants.clear())

    def grants(self, user: User, namespace: str) -> Grants:
        """What the user may do in the namespace, or in the cluster where it is empty."""
        key = (user, namespace)
        if key not in self._grants:
            if len(self._grants) >= _REMEMBERED:
                self._grants.clear()
            self._grants[key] = grants_of(user, namespace, self._objects.list)
        return self._grants[key]

    def allows(self, user: User, attributes: Attributes) -> bool:
        """Whether the user may do this."""
        return self.grants(user, attributes.namespace).allow(attributes)

    def check(self, user: User, attributes: Attributes) -> None:
        """Check that the user may do this.

        Raises:
            ApiFailure: 403, in the words of the real server.
        """
        grants = self.grants(user, attributes.namespace)
        if not grants.allow(attributes):
            raise forbidden(attributes, user.name, grants.reason(attributes))
