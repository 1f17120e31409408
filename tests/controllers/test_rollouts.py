"""Rollouts as people see them: kubectl rollout, history and rollback, deadlines, pauses, limits."""

from pathlib import Path

import pytest

from simulator.kube.kinds import DEPLOYMENT, POD, REPLICA_SET, Object
from tests.controllers.conftest import NAMESPACE, WORLD_TIMEOUT_S, StartWorld, World
from tests.kubectl import needs_kubectl, run_kubectl


def is_complete(deployment: Object) -> bool:
    status, wanted = deployment.get("status") or {}, deployment["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration") == deployment["metadata"]["generation"] and counts == [wanted] * 3


def progress(deployment: Object) -> str:
    conditions = (deployment.get("status") or {}).get("conditions") or []
    return next((entry["reason"] for entry in conditions if entry["type"] == "Progressing"), "")


def image(name: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": name}]}}}}


def revisions(world: World) -> dict[str, int]:
    """The replicas of each revision."""
    return {
        entry["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: entry["spec"]["replicas"]
        for entry in world.replica_sets.objects()
    }


async def kubectl(world: World, directory: Path, *arguments: str) -> str:
    """What kubectl says; it has to succeed."""
    code, said = await run_kubectl(world.kubeconfig, directory, "-n", NAMESPACE, *arguments, timeout_s=WORLD_TIMEOUT_S)
    assert code == 0, said
    return said


@pytest.mark.e2e
@needs_kubectl
async def test_kubectl_rollout(world: World, tmp_path: Path) -> None:
    await world.create(replicas=2)
    done = 'deployment "web" successfully rolled out'
    assert (await kubectl(world, tmp_path, "rollout", "status", "deployment/web")).endswith(done)
    await world.cluster.patch(DEPLOYMENT, "web", image("better"), NAMESPACE)
    assert (await kubectl(world, tmp_path, "rollout", "status", "deployment/web")).endswith(done)
    history = await kubectl(world, tmp_path, "rollout", "history", "deployment/web")
    assert [line.split()[0] for line in history.splitlines()[2:]] == ["1", "2"]

    assert await kubectl(world, tmp_path, "rollout", "undo", "deployment/web") == "deployment.apps/web rolled back"
    assert (await kubectl(world, tmp_path, "rollout", "status", "deployment/web")).endswith(done)
    back = await world.deployment(
        lambda found: found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    )
    assert back["spec"]["template"]["spec"]["containers"][0]["image"] == "good"
    history = await kubectl(world, tmp_path, "rollout", "history", "deployment/web")
    assert [line.split()[0] for line in history.splitlines()[2:]] == ["2", "3"]

    assert await kubectl(world, tmp_path, "rollout", "restart", "deployment/web") == "deployment.apps/web restarted"
    assert (await kubectl(world, tmp_path, "rollout", "status", "deployment/web")).endswith(done)
    assert len(world.replica_sets.objects()) == 3


async def test_rollback_notes_the_earlier_revision(world: World) -> None:
    await world.create()
    await world.deployment(is_complete)
    for name, revision in (("better", "2"), ("good", "3")):
        await world.cluster.patch(DEPLOYMENT, "web", image(name), NAMESPACE)
        await world.deployment(
            lambda found, revision=revision: (
                is_complete(found)  # type: ignore[misc]
                and found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == revision
            )
        )
    assert revisions(world) == {"2": 0, "3": 1}
    (rolled_back,) = [entry for entry in world.replica_sets.objects() if entry["spec"]["replicas"]]
    assert rolled_back["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"


async def test_history_is_limited(world: World) -> None:
    await world.create(revisionHistoryLimit=1)
    for name in ("v2", "v3", "v4"):
        await world.deployment(is_complete)
        await world.cluster.patch(DEPLOYMENT, "web", image(name), NAMESPACE)
    await world.replica_sets.wait_for(lambda _: revisions(world).keys() == {"3", "4"} or None, WORLD_TIMEOUT_S)


async def test_a_rollout_that_is_stuck_is_late_and_keeps_the_old_pods(start_world: StartWorld) -> None:
    async with start_world(time_scale=0.01) as world:
        await world.create(replicas=4, progressDeadlineSeconds=30)
        await world.deployment(is_complete)
        await world.cluster.patch(DEPLOYMENT, "web", image("bad"), NAMESPACE)
        late = await world.deployment(lambda found: progress(found) == "ProgressDeadlineExceeded")
        # 25 % of four may be missing, and one more may be there.
        assert (late["status"]["replicas"], late["status"]["updatedReplicas"], late["status"]["availableReplicas"]) == (
            5,
            2,
            3,
        )
        await world.cluster.patch(DEPLOYMENT, "web", image("fixed"), NAMESPACE)
        assert progress(await world.deployment(is_complete)) == "NewReplicaSetAvailable"
        assert revisions(world) == {"1": 0, "2": 0, "3": 4}


async def test_a_pause_holds_the_template_back_but_not_the_scale(world: World) -> None:
    await world.create()
    await world.deployment(is_complete)
    await world.cluster.patch(DEPLOYMENT, "web", {"spec": {"paused": True}}, NAMESPACE)
    assert progress(await world.deployment(lambda found: progress(found) == "DeploymentPaused"))
    await world.cluster.patch(DEPLOYMENT, "web", {**image("better")}, NAMESPACE)
    await world.cluster.patch(DEPLOYMENT, "web", {"spec": {"replicas": 3}}, NAMESPACE)
    await world.deployment(lambda found: found["status"].get("availableReplicas") == 3)
    assert revisions(world) == {"1": 3}
    await world.cluster.patch(DEPLOYMENT, "web", {"spec": {"paused": False}}, NAMESPACE)
    await world.deployment(is_complete)
    assert revisions(world) == {"1": 0, "2": 3}


async def test_pods_have_to_be_ready_for_a_while(start_world: StartWorld) -> None:
    async with start_world(time_scale=0.05) as world:
        seen: list[tuple[int, int]] = []

        def note(key: tuple[str, str]) -> None:
            if found := world.deployments.get(*key):
                status = found.get("status") or {}
                seen.append((status.get("readyReplicas", 0), status.get("availableReplicas", 0)))

        world.deployments.on_change(note)
        await world.create(minReadySeconds=10)
        await world.deployment(is_complete)
        assert (1, 0) in seen
        assert seen[-1] == (1, 1)


async def test_replace_all_waits_until_the_old_pods_are_gone(world: World) -> None:
    await world.create(replicas=3, strategy={"type": "Recreate"})
    await world.deployment(is_complete)
    together: list[set[str]] = []
    world.pods.on_change(
        lambda _: together.append({pod["metadata"]["labels"]["pod-template-hash"] for pod in world.pods.objects()})
    )
    await world.cluster.patch(DEPLOYMENT, "web", image("better"), NAMESPACE)
    await world.deployment(lambda found: found["metadata"]["generation"] == 2 and is_complete(found))
    assert max(len(hashes) for hashes in together) == 1


async def test_a_pod_is_adopted_and_released_by_its_labels(world: World) -> None:
    await world.create()
    await world.deployment(is_complete)
    (pod,) = world.pods.objects()
    await world.cluster.patch(POD, pod["metadata"]["name"], {"metadata": {"labels": {"app": "other"}}}, NAMESPACE)
    pods = await world.pods_are(
        lambda pods: len(pods) == 2 and sum("ownerReferences" in pod["metadata"] for pod in pods) == 1
    )
    (orphan,) = [pod for pod in pods if "ownerReferences" not in pod["metadata"]]
    await world.cluster.patch(POD, orphan["metadata"]["name"], {"metadata": {"labels": {"app": "web"}}}, NAMESPACE)
    (kept,) = await world.pods_are(lambda pods: len(pods) == 1 and "ownerReferences" in pods[0]["metadata"])
    assert kept["metadata"]["labels"]["app"] == "web"


async def test_a_deployment_that_is_made_again_adopts_what_it_left(world: World) -> None:
    await world.create(replicas=2)
    await world.deployment(is_complete)
    (before,) = world.replica_sets.objects()
    patch = {"metadata": {"ownerReferences": None}}
    await world.cluster.patch(REPLICA_SET, before["metadata"]["name"], patch, NAMESPACE)
    (after,) = await world.replica_sets.wait_for(
        lambda informer: [entry for entry in informer.objects() if "ownerReferences" in entry["metadata"]] or None,
        WORLD_TIMEOUT_S,
    )
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
