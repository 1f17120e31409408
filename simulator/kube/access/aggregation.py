"""Cluster roles that are put together from others: those that carry the labels which the role asks for."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from simulator.kube.access.rbac import Rule
from simulator.kube.builtin.selector_rules import selects
from simulator.kube.history import Listener
from simulator.kube.kinds import CLUSTER_ROLE, Kind, Object


class ClusterRoles(Protocol):
    """Where cluster roles are: a ResourceStore."""

    def list(self, kind: Kind) -> Iterable[Object]:
        """All of them."""
        ...

    def update(self, kind: Kind, obj: Object) -> Object:
        """Replace one."""
        ...

    def listen(self, kind: Kind, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of each change."""
        ...


class RoleAggregation:
    """Writes the rules of aggregated cluster roles anew after each change of one, as a controller of its own would."""

    def __init__(self, roles: ClusterRoles) -> None:
        self._roles = roles
        self._due: asyncio.Handle | None = None
        self._forget: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin, in the running event loop."""
        loop = asyncio.get_running_loop()
        self._due = loop.call_soon(self._aggregate)

        def changed(_: object) -> None:
            if self._due is None:  # not at once: the writer is not done yet
                self._due = loop.call_soon(self._aggregate)

        self._forget = self._roles.listen(CLUSTER_ROLE, changed)

    def stop(self) -> None:
        """End."""
        if self._forget:
            self._forget()
        if self._due:
            self._due.cancel()

    def _aggregate(self) -> None:
        # One that is made of others may be part of a third, but a role that is part of itself comes to no end.
        for _ in self._roles.list(CLUSTER_ROLE):
            if not self._pass():
                break
        self._due = None  # what was written here is no reason to look again

    def _pass(self) -> bool:
        """Look at each role once; whether one was changed."""
        roles = list(self._roles.list(CLUSTER_ROLE))
        outdated = [found for role in roles if (found := aggregated(role, roles)) is not None]
        for role in outdated:
            self._roles.update(CLUSTER_ROLE, role)
        return bool(outdated)


def aggregated(role: Object, roles: Iterable[Object]) -> Object | None:
    """The cluster role with the rules of all that it asks for, None if it has them or asks for none."""
    wanted = (role.get("aggregationRule") or {}).get("clusterRoleSelectors")
    if not wanted:
        return None
    rules: list[Rule] = []
    by_name = sorted(roles, key=lambda other: str(other["metadata"]["name"]))
    for selector in wanted:
        for other in by_name:
            labels = other["metadata"].get("labels")
            if other["metadata"]["name"] != role["metadata"]["name"] and selects(selector, labels):
                rules += (rule for rule in other.get("rules") or () if rule not in rules)
    return None if rules == (role.get("rules") or []) else {**role, "rules": rules}
