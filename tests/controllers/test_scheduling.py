"""Pods get nodes: by what they request, and again when something changes."""

from simulator.kube.kinds import DEPLOYMENT, EVENT, NODE, POD, Object
from simulator.nodes import GPU, NodeSpec, node_object
from tests.controllers.conftest import NAMESPACE, StartWorld

ONE_GPU: Object = {GPU: "1"}


def node_of(pod: Object) -> str:
    return str(pod["spec"].get("nodeName", ""))


async def test_gpus_are_spread_and_who_finds_none_waits(start_world: StartWorld) -> None:
    async with start_world(NodeSpec("one", gpus=1), NodeSpec("two", gpus=1)) as world:
        await world.create(replicas=3, requests=ONE_GPU)
        pods = await world.pods_are(lambda pods: sum(map(bool, map(node_of, pods))) == 2 and len(pods) == 3)
        assert sorted(map(node_of, pods)) == ["", "one", "two"]
        await world.cluster.patch_status(NODE, "one", {"status": node_object(NodeSpec("one", gpus=2))["status"]})
        pods = await world.pods_are(lambda pods: all(map(node_of, pods)))
        assert sorted(map(node_of, pods)) == ["one", "one", "two"]


async def test_a_waiting_pod_says_why_and_gets_the_place_of_one_that_goes(start_world: StartWorld) -> None:
    async with start_world(NodeSpec("one", gpus=1)) as world:
        await world.create("first", requests=ONE_GPU)
        await world.pods_are(lambda pods: len(pods) == 1 and all(map(node_of, pods)))
        await world.create("second", requests=ONE_GPU)

        def refused(pods: list[Object]) -> bool:
            conditions = [entry for pod in pods for entry in (pod.get("status") or {}).get("conditions") or ()]
            return any(entry.get("reason") == "Unschedulable" for entry in conditions)

        await world.pods_are(refused)
        await world.cluster.patch(DEPLOYMENT, "first", {"spec": {"replicas": 0}}, NAMESPACE)
        (pod,) = await world.pods_are(lambda pods: len(pods) == 1 and all(map(node_of, pods)))
        assert pod["metadata"]["labels"]["app"] == "second"
        reasons = [
            event["reason"]
            for event in await world.cluster.list(EVENT, NAMESPACE)
            if event["involvedObject"]["name"] == pod["metadata"]["name"]
        ]
        assert sorted(reasons) == ["FailedScheduling", "Scheduled"]


async def test_a_pod_may_name_its_node_itself(start_world: StartWorld) -> None:
    async with start_world(NodeSpec("one"), NodeSpec("two")) as world:
        pod: Object = {
            "metadata": {"name": "solo", "namespace": NAMESPACE},
            "spec": {"nodeName": "two", "containers": [{"name": "main", "image": "good"}]},
        }
        await world.cluster.create(POD, pod)
        (placed,) = await world.pods_are(
            lambda pods: [(pod["status"] or {}).get("phase") for pod in pods] == ["Running"]
        )
        assert node_of(placed) == "two"
        assert not await world.cluster.list(EVENT, NAMESPACE)
