"""The unmodified kubectl creates one of each kind, and sends most of them as Protocol Buffers."""

from pathlib import Path

import pytest

from simulator.kube.kinds import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    POD_DISRUPTION_BUDGET,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
)
from simulator.kube.store import ResourceStore
from tests.kubectl import needs_kubectl, run_kubectl

NS = "team"

pytestmark = [pytest.mark.e2e, needs_kubectl]

CREATED = (
    (CONFIG_MAP, "configmap a --from-literal=k=v"),
    (SECRET, "secret generic a --from-literal=k=v"),
    (SERVICE_ACCOUNT, "serviceaccount a"),
    (DEPLOYMENT, "deployment a --image=nginx --replicas=2 --port=80"),
    (SERVICE, "service clusterip a --tcp=80:8080"),
    (ROLE, "role a --verb=get --resource=pods"),
    (ROLE_BINDING, "rolebinding a --role=a --user=jane"),
    (CLUSTER_ROLE, "clusterrole a --verb=get --resource=pods"),
    (CLUSTER_ROLE_BINDING, "clusterrolebinding a --clusterrole=a --user=jane"),
    (POD_DISRUPTION_BUDGET, "poddisruptionbudget a --selector=app=a --min-available=50%"),
)


async def test_kubectl_creates_each_kind(kubeconfig: Path, store: ResourceStore, tmp_path: Path) -> None:
    async def kubectl(*arguments: str) -> str:
        return (await run_kubectl(kubeconfig, tmp_path, "--request-timeout=10s", *arguments))[1]

    assert await kubectl("create", "namespace", NS) == f"namespace/{NS} created"
    assert store.holds(NAMESPACE, NS, None)
    for kind, arguments in CREATED:
        shown = await kubectl("create", *arguments.split(), f"--namespace={NS}")
        name = f"{kind.kind.lower()}.{kind.group}" if kind.group else kind.kind.lower()
        assert shown == f"{name}/a created"
    deployment = store.get(DEPLOYMENT, "a", NS)
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["template"]["spec"]["containers"][0]["ports"] == [
        {"containerPort": 80, "protocol": "TCP"}
    ]
    assert store.get(SECRET, "a", NS)["data"] == {"k": "dg=="}
    assert store.get(SERVICE, "a", NS)["spec"]["ports"][0]["targetPort"] == 8080
    assert store.get(POD_DISRUPTION_BUDGET, "a", NS)["spec"]["minAvailable"] == "50%"
