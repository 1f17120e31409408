"""How each part of a platform comes into its embedded cluster: as a user of its own, with a role for what it does."""

from pathlib import Path

from simulator.gpuunit import UNIT_NAMESPACES
from simulator.kube.access.platform_roles import Part, part_user, platform_access
from simulator.kube.client import Cluster
from simulator.kube.kinds import NAMESPACE
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore


class ClusterAccess:
    """The parts' kubeconfigs, in a directory of their own; each is written when it is first asked for."""

    def __init__(self, server: KubeServer, directory: Path) -> None:
        self._server = server
        self._directory = directory

    def kubeconfig(self, part: Part) -> Path:
        """The part's kubeconfig, which only we may read."""
        path = self._directory / f"{part}.kubeconfig"
        if not path.exists():
            self._directory.mkdir(mode=0o700, exist_ok=True)
            self._server.write_kubeconfig(path, part_user(part))
        return path

    def connect(self, part: Part) -> Cluster:
        """A client that is this part."""
        return Cluster(self.kubeconfig(part), field_manager=f"unitsim-{part}")


def grant_access(store: ResourceStore) -> None:
    """Give the parts their roles, in a store that has none of them, and make the namespaces where these hold."""
    there = {obj["metadata"]["name"] for obj in store.list(NAMESPACE)}
    for name in UNIT_NAMESPACES:
        if name not in there:
            store.create(NAMESPACE, {"metadata": {"name": name}})
    for kind, obj in platform_access():
        store.create(kind, obj, obj["metadata"].get("namespace"))
