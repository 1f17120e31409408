"""The unmodified kubectl as different users."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from simulator.kube.access.users import AUTHENTICATED, User
from simulator.kube.kinds import CLUSTER_ROLE_BINDING, SECRET
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from tests.kubectl import needs_kubectl, run_kubectl

NS = "runtime-instance"
JANE = User("jane", ("devs", "ops", AUTHENTICATED))
VIEWERS = {
    "metadata": {"name": "viewers"},
    "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "ops"}],
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
}

pytestmark = [pytest.mark.e2e, needs_kubectl]

Kubectl = Callable[..., Awaitable[tuple[int | None, str]]]


@pytest.fixture(params=["token", "certificate"])
def kubectl(server: KubeServer, tmp_path: Path, request: pytest.FixtureRequest) -> Kubectl:
    """Run kubectl as Jane, or as the user of the kubeconfig `admin`; return its exit code and output."""
    server.write_kubeconfig(tmp_path / "jane", JANE, certificate=request.param == "certificate")
    server.write_kubeconfig(tmp_path / "admin")

    async def run(*arguments: str, who: str = "jane") -> tuple[int | None, str]:
        return await run_kubectl(tmp_path / who, tmp_path, "--request-timeout=10s", *arguments)

    return run


async def test_kubectl_auth(kubectl: Kubectl, store: ResourceStore) -> None:
    _, shown = await kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo}")
    assert shown == '{"groups":["devs","ops","system:authenticated"],"username":"jane"}'
    assert await kubectl("auth", "can-i", "list", "pods") == (1, "no")
    store.create(CLUSTER_ROLE_BINDING, VIEWERS)
    assert await kubectl("auth", "can-i", "list", "pods") == (0, "yes")
    assert await kubectl("auth", "can-i", "list", "secrets") == (1, "no")
    assert await kubectl("auth", "can-i", "list", "pods", "--as=nobody", who="admin") == (1, "no")
    assert await kubectl("auth", "can-i", "list", "pods", "--as=x", "--as-group=ops", who="admin") == (0, "yes")
    code, listed = await kubectl("auth", "can-i", "--list")
    assert (code, "pods/log" in listed, "secrets" in listed) == (0, True, False)


async def test_kubectl_is_told_what_it_may_not(kubectl: Kubectl, store: ResourceStore) -> None:
    store.create(SECRET, {"metadata": {"name": "s"}, "stringData": {"a": "hush"}}, NS)
    assert await kubectl("get", "secret", "s") == (
        1,
        'Error from server (Forbidden): secrets "s" is forbidden: User "jane" cannot get resource "secrets" in API '
        f'group "" in the namespace "{NS}"',
    )
    assert await kubectl("get", "secret", "s", "-o", "name", who="admin") == (0, "secret/s")
    code, told = await kubectl("get", "secret", "s", "--as=mallory", who="admin")
    assert (code, 'User "mallory" cannot get resource' in told) == (1, True)
