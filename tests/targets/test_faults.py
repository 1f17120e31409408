"""Which faults a cluster offers, and what is changed to make them happen."""

import pytest

from simulator.errors import PlatformError
from simulator.gpuunit import MANAGED_LABELS, UNIT_LABEL
from simulator.install.keys import PlatformKeys
from simulator.install.manifests import manifests
from simulator.install.settings import InstallSettings
from simulator.kube.kinds import Object
from simulator.targets.cluster_faults import QUEUE_POLICY, guards_queue, has_process_namespace, without_unit
from simulator.targets.faults import Fault, Faults


async def _nothing(_unit: str) -> None: ...


FAULTS = Faults(
    {Fault.POD_KILLED: _nothing, Fault.QUEUE_RESTARTS: _nothing},
    {Fault.QUEUE_UNREACHABLE: "no network", Fault.SIDECAR_ENDS: "no signals"},
)


def test_a_scenario_that_needs_what_is_there_is_not_refused() -> None:
    assert FAULTS.refusal([]) == ""
    assert FAULTS.refusal([Fault.POD_KILLED, Fault.QUEUE_RESTARTS]) == ""


def test_a_refusal_names_each_fault_with_its_reason() -> None:
    needs = [Fault.SIDECAR_ENDS, Fault.POD_KILLED, Fault.QUEUE_UNREACHABLE]
    assert FAULTS.refusal(needs) == "queue-unreachable: no network; sidecar-ends: no signals"


async def test_a_fault_that_is_refused_cannot_be_injected() -> None:
    await FAULTS.inject(Fault.POD_KILLED, "u")
    with pytest.raises(PlatformError, match=r"sidecar-ends: no signals; .*`needs`"):
        await FAULTS.inject(Fault.SIDECAR_ENDS, "u")


def pod(container_id: str, **spec: object) -> Object:
    status = [{"name": "runtime-worker", "containerID": "containerd://1"}, {"name": "api", "containerID": container_id}]
    return {"spec": spec, "status": {"containerStatuses": status}}


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        pytest.param(pod("containerd://4f1"), True, id="container"),
        pytest.param(pod("cri-o://4f1"), True, id="another runtime"),
        pytest.param(pod("process://4f1"), False, id="a process of the machine: signal 1 would be its init"),
        pytest.param(pod(""), False, id="not started"),
        pytest.param(pod("containerd://4f1", shareProcessNamespace=True), False, id="process 1 is the pause"),
        pytest.param({"spec": {}}, False, id="no status"),
    ],
)
def test_process_one_is_signalled_only_where_it_is_the_containers_own(pod: Object, expected: bool) -> None:
    assert has_process_namespace(pod, "api") is expected


def installed_policy(**settings: int) -> Object:
    objects = manifests(InstallSettings(**settings), PlatformKeys.fresh())  # type: ignore[arg-type]  # ports only
    [found] = [each for each in objects if each["metadata"]["name"] == QUEUE_POLICY and each["kind"] == "NetworkPolicy"]
    return found


def test_a_unit_is_cut_off_by_the_queues_own_policy_and_nobody_else_is() -> None:
    policy = installed_policy()
    changed = without_unit(policy, "u")
    [before], [after] = (each["spec"]["ingress"] for each in (policy, changed))
    picked = [peer for peer in after["from"] if peer not in before["from"]]
    assert len(picked) == len([peer for peer in before["from"] if "namespaceSelector" in peer]) > 0
    for peer in picked:
        assert peer["podSelector"] == {
            "matchLabels": MANAGED_LABELS,
            "matchExpressions": [{"key": UNIT_LABEL, "operator": "NotIn", "values": ["u"]}],
        }
    assert [peer for peer in after["from"] if peer in before["from"]]  # the platform's own parts
    assert after["ports"] == before["ports"]
    assert policy == installed_policy()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param(installed_policy(), True, id="as installed"),
        pytest.param(installed_policy(nats_node_port=30422), False, id="with a node port everybody comes in"),
        pytest.param(None, False, id="none"),
    ],
)
def test_who_is_kept_from_the_queue(policy: Object | None, expected: bool) -> None:
    assert guards_queue(policy) is expected
