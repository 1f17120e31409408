"""Least privilege on a running platform: each part does what it may, and nothing that it does is refused."""

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import ClientSession

from scenarios.local_world import LocalWorld
from simulator.activator.pools import is_managed
from simulator.errors import NotFoundError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.identities.secret import CREDENTIALS_KEY, secret_name
from simulator.kube.access.attributes import Attributes
from simulator.kube.access.authorization import Authorizer
from simulator.kube.access.platform_roles import ACCESS, PLATFORM_NAMESPACE, ROLE_PREFIX, Part, part_user
from simulator.kube.access.rbac import rule_allows
from simulator.kube.access.users import User
from simulator.kube.informer import Informer
from simulator.kube.kinds import (
    CLUSTER_ROLE,
    DEPLOYMENT,
    EVENT,
    GPUUNIT,
    LEASE,
    NETWORK_POLICY,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    Kind,
    Object,
)
from simulator.platform import Platform
from simulator.reconciler.conditions import READY
from simulator.reconciler.leader import LeaderElection, LeaseSettings, MayWrite
from simulator.units import echo_unit

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

WAIT_S = 60
ELSEWHERE = "default"
PARTS = (Part.RECONCILER, Part.ACTIVATOR, Part.API, Part.ISSUER)
UNUSED = {
    *((part, "update", "gpuunits/finalizers") for part in (Part.RECONCILER, Part.ISSUER)),  # where owners are checked
    *((part, verb, "gpuunits") for part in (Part.ACTIVATOR, Part.ISSUER) for verb in ("list", "watch")),  # as processes
}
RARE = {(Part.ISSUER, "get", "secrets")}
"""When its copy lags behind what it made itself."""


class Asked:
    """What the API server was asked to allow, by whom, and what it refused."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Attributes]] = []
        self.refused: list[tuple[str, Attributes]] = []

    def unused(self, part: Part) -> set[tuple[Part, str, str]]:
        """The rights of a part that it has not made use of."""
        name = part_user(part).name
        made = [attributes for user, attributes in self.requests if user == name]
        rules = [rule for grant in ACCESS[part] for rule in grant.rules]
        rights = [
            ((part, verb, resource), {**rule, "verbs": [verb], "resources": [resource]})
            for rule in rules
            for verb in rule["verbs"]
            for resource in rule["resources"]
        ]
        return {right for right, rule in rights if not any(rule_allows(rule, attributes) for attributes in made)}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked, check = Asked(), Authorizer.check

    def noted(self: Authorizer, user: User, attributes: Attributes) -> None:
        asked.requests.append((user.name, attributes))
        if not self.allows(user, attributes):
            asked.refused.append((user.name, attributes))
        check(self, user, attributes)

    monkeypatch.setattr(Authorizer, "check", noted)
    return asked


async def until(
    platform: Platform, kind: Kind, are_right: Callable[[list[Object]], bool], namespace: str = ACTIVE_NAMESPACE
) -> None:
    """Wait until the objects of a kind in a namespace are as they should be."""
    informer = Informer(platform.cluster, kind, namespace)
    running = asyncio.create_task(informer.run())
    try:
        await informer.synced(WAIT_S)
        await informer.wait_for(lambda found: True if are_right(found.objects()) else None, WAIT_S)
    finally:
        running.cancel()
        await asyncio.wait([running])


def names(objects: list[Object]) -> set[str]:
    return {obj["metadata"]["name"] for obj in objects}


async def a_worker_comes_and_goes(world: LocalWorld) -> None:
    """The activator makes one, drains it and deletes it; the API is asked about units in every way."""
    template = echo_unit("p")
    template["serverless"] |= {"templateOnly": True, "idleTimeoutSeconds": 1}
    await world.api.create_unit(template)
    assert (await world.pool("p").call({}))["statusCode"] == 200
    await until(world.platform, GPUUNIT, lambda units: not any(map(is_managed, units)))
    assert len(await world.api.units()) == 1
    await world.api.delete_unit(template["name"])


async def a_unit_is_changed(world: LocalWorld) -> None:
    """It loses its ports, and then its sidecar; meanwhile somebody meddles with its objects."""
    platform, unit = world.platform, echo_unit("q")
    name = unit["name"]
    await world.ready_pool("q")
    for number in range(2):
        await meddle(platform, name, number)
    secret = {"data": {CREDENTIALS_KEY: "bWVkZGxlZA=="}}
    await platform.cluster.patch(SECRET, secret_name(name), secret, ACTIVE_NAMESPACE)
    await until(platform, SECRET, lambda found: all(obj["data"] != secret["data"] for obj in found))
    async with ClientSession(platform.api_url) as session:
        put = {"template": {"command": ["sleep", "600"]}, "serverless": {}}
        async with session.put(f"/api/v1/gpu-units/{name}", json=put) as response:
            assert response.status == 200, await response.text()
    await until(platform, SERVICE, lambda found: f"unit-{name}" not in names(found))
    await until(platform, SECRET, lambda found: secret_name(name) not in names(found))


async def meddle(platform: Platform, name: str, number: int) -> None:
    """Change what the unit says of its policy; wait until it is put right, and that was told as often."""
    await platform.cluster.patch(NETWORK_POLICY, f"egress-{name}", {"spec": {"egress": []}}, ACTIVE_NAMESPACE)
    reverted = {"reason": "Reverted", "count": number + 1}
    await until(platform, EVENT, lambda found: any(event.items() >= reverted.items() for event in found))


async def a_reconciler_leads(world: LocalWorld) -> None:
    """In one process it needs no Lease; where there are several, it does so with the same rights."""
    leads = asyncio.Event()

    async def work(_: MayWrite) -> None:
        leads.set()
        await asyncio.Event().wait()

    async with world.platform.access.connect(Part.RECONCILER) as cluster:
        election = asyncio.create_task(LeaderElection(cluster, LeaseSettings(ACTIVE_NAMESPACE)).run(work))
        try:
            async with asyncio.timeout(WAIT_S):
                await leads.wait()
        finally:
            election.cancel()
            await asyncio.wait([election])
    lease = await world.platform.cluster.get(LEASE, "gpuunit-reconciler", ACTIVE_NAMESPACE)
    assert "holderIdentity" not in lease["spec"]


async def test_each_part_uses_what_it_may_and_is_refused_nothing(asked: Asked, world: LocalWorld) -> None:
    await a_worker_comes_and_goes(world)
    await a_unit_is_changed(world)
    await a_reconciler_leads(world)
    assert asked.refused == []
    unused = {right for part in PARTS for right in asked.unused(part)}
    assert unused - RARE == UNUSED


async def test_a_unit_in_another_namespace_is_told_why_it_does_not_run(world: LocalWorld) -> None:
    """Until the people of that namespace let the reconciler in, as the documentation says."""
    cluster, unit = world.platform.cluster, {"metadata": {"name": "u", "namespace": ELSEWHERE}}
    await cluster.create(GPUUNIT, {**unit, "spec": {"specName": "g1.1"}})
    await until(world.platform, GPUUNIT, lambda units: "is forbidden: User" in ready_message(units), ELSEWHERE)
    with pytest.raises(NotFoundError):
        await cluster.get(DEPLOYMENT, "u", ELSEWHERE)
    role = f"{ROLE_PREFIX}reconciler-units"
    subject = {"kind": "ServiceAccount", "name": Part.RECONCILER.value, "namespace": PLATFORM_NAMESPACE}
    reference = {"apiGroup": CLUSTER_ROLE.group, "kind": CLUSTER_ROLE.kind, "name": role}
    metadata = {"name": role, "namespace": ELSEWHERE}
    await cluster.create(ROLE_BINDING, {"metadata": metadata, "subjects": [subject], "roleRef": reference})
    await until(world.platform, DEPLOYMENT, lambda found: names(found) == {"u"}, ELSEWHERE)


def ready_message(units: list[Object]) -> str:
    conditions = [each for unit in units for each in unit.get("status", {}).get("conditions", ())]
    return next((str(each["message"]) for each in conditions if each["type"] == READY), "")
