"""Under which user and groups a container runs, from the security contexts of its pod: pure functions."""

from typing import Final

from simulator.kube.kinds import Object
from simulator.processes.users import User

IMAGE_USER: Final = 64102
"""User and group of a container whose pod names none: in place of the one that its image names on a cluster."""


def user_of(pod: Object, container: Object) -> User:
    """The container's user: its own settings count before its pod's. The pod's shared groups are among its groups.

    A user that is named without a group gets the group of the same number, not, as on a cluster, that of root.
    """
    shared = pod["spec"].get("securityContext") or {}
    own = {**shared, **(container.get("securityContext") or {})}
    uid = own.get("runAsUser", IMAGE_USER)
    groups = [*(shared.get("supplementalGroups") or ()), shared.get("fsGroup")]
    return User(
        uid=uid,
        gid=own.get("runAsGroup", uid),
        groups=tuple(group for group in groups if group is not None),
        no_new_privileges=own.get("allowPrivilegeEscalation") is False,
    )


def volume_group(pod: Object) -> int | None:
    """The group that owns the pod's volumes, None if it names none."""
    group: int | None = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return group
