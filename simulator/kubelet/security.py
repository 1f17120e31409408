"""Under which user and groups a container runs, from the security contexts of its pod."""

from collections.abc import Callable

from simulator.errors import EnvironmentMissing
from simulator.kube.kinds import Object
from simulator.kubelet.env_sources import ConfigError
from simulator.processes.users import ROOT, User


def user_of(pod: Object, container: Object, own_user: Callable[[], int]) -> User:
    """The container's user: its own settings count before its pod's. The pod's shared groups are among its groups.

    `own_user` is asked for the user of a container whose pod names none: the pod's own, in place of the one that an
    image names on a cluster. A user that is named without a group gets the group of the same number, not root's.

    Raises:
        ConfigError: it would be root, who is that of this machine here, or there is no user for it.
    """
    shared = pod["spec"].get("securityContext") or {}
    own = {**shared, **(container.get("securityContext") or {})}
    uid = own.get("runAsUser")
    if uid == ROOT:
        raise ConfigError(_root_problem(pod, container, policy=bool(own.get("runAsNonRoot"))))
    if uid is None:
        try:
            uid = own_user()
        except EnvironmentMissing as error:
            raise ConfigError(str(error)) from error
    groups = [*(shared.get("supplementalGroups") or ()), shared.get("fsGroup")]
    return User(
        uid=uid,
        gid=own.get("runAsGroup", uid),
        groups=tuple(group for group in groups if group is not None),
        no_new_privileges=own.get("allowPrivilegeEscalation") is False,
    )


def _root_problem(pod: Object, container: Object, *, policy: bool) -> str:
    name, metadata = container["name"], pod["metadata"]
    if policy:
        full_name = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
        return f'container\'s runAsUser breaks non-root policy (pod: "{full_name}", container: {name})'
    return (
        f"container {name}: runAsUser 0 is not supported by the local kubelet, whose containers share this machine's "
        "root; name another user, or none"
    )


def volume_group(pod: Object) -> int | None:
    """The group that owns the pod's volumes, None if it names none."""
    group: int | None = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return group
