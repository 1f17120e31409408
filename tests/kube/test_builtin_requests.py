"""What the server does with objects besides checking them: addresses, tokens, scales, bindings, evictions, statuses."""

from typing import Any

import pytest

from simulator.kube.builtin.admission import TOKEN_PATH, admitted_pod
from simulator.kube.builtin.defaults import with_builtin_defaults
from simulator.kube.builtin.pod_requests import (
    bound_pod,
    budget_to_charge,
    charged_budget,
    check_binding,
    check_eviction,
    evicted_pod,
)
from simulator.kube.builtin.preparation import counts_as_change, prepare_builtin_status
from simulator.kube.builtin.quality import quality_class
from simulator.kube.builtin.rules import builtin_status_causes
from simulator.kube.builtin.scale import scale_causes, scale_of, with_scale
from simulator.kube.builtin.selector_rules import selector_text, selects
from simulator.kube.builtin.service_addresses import Taken, taken_by, with_addresses
from simulator.kube.kinds import DEPLOYMENT, NETWORK_POLICY, POD, SERVICE, STATEFUL_SET, Kind, Object
from simulator.kube.status import ApiFailure

NOW = "2026-01-01T00:00:00Z"
LATER = "2026-01-01T00:00:09Z"


def pod(name: str = "p", **fields: Any) -> Object:
    spec = {"containers": [{"name": "c", "image": "i"}], **fields.pop("spec", {})}
    return with_builtin_defaults(POD, {"metadata": {"name": name, "namespace": "ns"}, "spec": spec, **fields})


def service(name: str = "s", **spec: Any) -> Object:
    ports = spec.pop("ports", [{"port": 80}])
    return with_builtin_defaults(
        SERVICE, {"metadata": {"name": name, "namespace": "ns"}, "spec": {"ports": ports, **spec}}
    )


def test_a_service_gets_a_free_address_that_its_name_determines() -> None:
    first = with_addresses(service(), None, Taken())
    assert first == with_addresses(service(), None, Taken())
    second = with_addresses(service(), None, taken_by([first]))
    addresses = [one["spec"]["clusterIP"] for one in (first, second)]
    assert len(set(addresses)) == 2
    assert all(address.startswith("10.96.") for address in addresses)
    assert second["spec"]["clusterIPs"] == [second["spec"]["clusterIP"]]


def test_an_address_that_is_taken_is_refused() -> None:
    wanted = service(clusterIP="10.96.0.9")
    taken = taken_by([with_addresses(wanted, None, Taken())])
    with pytest.raises(ApiFailure, match=r"failed to allocate IP 10\.96\.0\.9: provided IP is already allocated"):
        with_addresses(wanted, None, taken)


def test_node_ports_are_given_once_and_kept() -> None:
    exposed = with_addresses(service(type="NodePort"), None, Taken())
    port = exposed["spec"]["ports"][0]["nodePort"]
    other = with_addresses(service(type="NodePort"), None, taken_by([exposed]))
    assert other["spec"]["ports"][0]["nodePort"] != port
    again = with_addresses(service(type="NodePort"), exposed, Taken())
    assert again["spec"]["ports"][0]["nodePort"] == port
    assert again["spec"]["clusterIP"] == exposed["spec"]["clusterIP"]
    with pytest.raises(ApiFailure, match="provided port is already allocated"):
        with_addresses(service(type="NodePort", ports=[{"port": 1, "nodePort": port}]), None, taken_by([exposed]))


def test_two_ports_of_one_number_share_a_node_port() -> None:
    ports = [{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}, {"name": "c", "port": 54}]
    spec = with_addresses(service(type="NodePort", ports=ports), None, Taken())["spec"]
    first, second, third = (port["nodePort"] for port in spec["ports"])
    assert first == second != third


def test_a_pod_gets_the_token_of_its_account_in_every_container() -> None:
    mounted = [{"name": "own", "mountPath": TOKEN_PATH}]
    containers = [{"name": "c", "image": "i"}, {"name": "d", "image": "i", "volumeMounts": mounted}]
    before = [{"name": "side", "image": "i", "restartPolicy": "Always"}]
    sent = pod(spec={"containers": containers, "initContainers": before, "volumes": [{"name": "own"}]})
    spec = admitted_pod(sent, {"default": Object(imagePullSecrets=[{"name": "pull"}])}.get, lambda: "x7")["spec"]
    mounts = [[mount["name"] for mount in container["volumeMounts"]] for container in spec["containers"]]
    assert mounts == [["kube-api-access-x7"], ["own"]]
    assert spec["initContainers"][0]["volumeMounts"][0]["mountPath"] == TOKEN_PATH
    assert [volume["name"] for volume in spec["volumes"]] == ["own", "kube-api-access-x7"]
    assert (spec["serviceAccountName"], spec["priority"]) == ("default", 0)
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert [toleration["key"] for toleration in spec["tolerations"]] == [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ]
    assert "volumeMounts" not in sent["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("spec", "account"), [({"automountServiceAccountToken": False}, {}), ({}, {"automountServiceAccountToken": False})]
)
def test_a_pod_goes_without_a_token_if_it_or_its_account_says_so(spec: Object, account: Object) -> None:
    assert "volumes" not in admitted_pod(pod(spec=spec), {"default": account}.get, lambda: "x")["spec"]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"serviceAccountName": "a"}, 'service account ns/a: serviceaccount "a" not found'),
        ({"priorityClassName": "high"}, "no PriorityClass with name high was found"),
        ({"priority": 7}, r"the integer value of priority \(7\) must not be provided"),
    ],
)
def test_a_pod_that_is_not_admitted(spec: Object, problem: str) -> None:
    with pytest.raises(ApiFailure, match=problem) as caught:
        admitted_pod(pod(spec=spec), {"default": Object()}.get, lambda: "x")
    assert caught.value.code == 403


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ([{}, {}], "BestEffort"),
        ([{"requests": {"nvidia.com/gpu": "1"}}], "BestEffort"),
        ([{"requests": {"cpu": "0"}}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}, {}], "Burstable"),
        ([{"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
    ],
)
def test_quality_of_service(resources: list[Object], quality: str) -> None:
    assert quality_class({"containers": [{"resources": part} for part in resources]}) == quality


SELECTOR: Object = {
    "matchLabels": {"app": "a"},
    "matchExpressions": [
        {"key": "app", "operator": "In", "values": ["b", "a"]},
        {"key": "tier", "operator": "NotIn", "values": ["x"]},
        {"key": "up", "operator": "Exists"},
        {"key": "x", "operator": "DoesNotExist"},
    ],
}


def test_a_selector_is_written_and_applied() -> None:
    assert selector_text(SELECTOR) == "app=a,app in (a,b),tier notin (x),up,!x"
    assert selects(SELECTOR, {"app": "a", "up": ""})
    for labels in (
        {"app": "b", "up": ""},
        {"app": "a"},
        {"app": "a", "up": "", "x": "1"},
        {"app": "a", "up": "", "tier": "x"},
    ):
        assert not selects(SELECTOR, labels), labels
    assert selects({}, None)
    assert not selects(None, {})


def test_scale_shows_and_takes_the_number_of_pods() -> None:
    metadata = {"name": "d", "namespace": "ns", "uid": "u", "resourceVersion": "5", "labels": {"a": "b"}}
    deployment: Object = {"metadata": metadata, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "d"}}}}
    scale = scale_of({**deployment, "status": {"replicas": 1}})
    assert scale["metadata"] == {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")}
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "app=d"})
    assert scale_of({**deployment, "spec": {"replicas": 0}})["spec"] == {}
    changed = with_scale(deployment, {"metadata": {"name": "d"}, "spec": {"replicas": 7}})
    assert changed["spec"]["replicas"] == 7
    assert "resourceVersion" not in changed["metadata"]
    assert with_scale(deployment, scale)["metadata"]["resourceVersion"] == "5"
    assert with_scale(deployment, {"metadata": {}, "spec": {}})["spec"]["replicas"] == 0
    assert deployment["spec"]["replicas"] == 2
    assert [cause.field for cause in scale_causes({"metadata": {"name": "d"}, "spec": {"replicas": -1}})] == [
        "spec.replicas"
    ]


def test_binding_assigns_a_pod_once() -> None:
    binding = {"metadata": {"name": "p", "labels": {"l": "1"}, "annotations": {"q": "r"}}, "target": {"name": "n"}}
    check_binding(binding, "p")
    bound = bound_pod(pod(), binding, NOW)
    assert (bound["spec"]["nodeName"], bound["metadata"]["labels"]) == ("n", {"l": "1"})
    assert bound["status"]["conditions"] == [
        {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": NOW}
    ]
    with pytest.raises(ApiFailure, match=r'on pods/binding "p": pod p is already assigned to node "n"') as caught:
        bound_pod(bound, binding, LATER)
    assert caught.value.code == 409
    with pytest.raises(ApiFailure, match=r"non-empty \.spec\.schedulingGates"):
        bound_pod(pod(spec={"schedulingGates": [{"name": "g"}]}), binding, NOW)


def test_a_binding_without_a_node_is_refused() -> None:
    with pytest.raises(ApiFailure, match=r"\[target.kind: Unsupported value: \"Foo\".*, target.name: Required value\]"):
        check_binding({"metadata": {"name": "p"}, "target": {"kind": "Foo"}}, "p")


def test_a_binding_of_another_pod_is_refused() -> None:
    with pytest.raises(ApiFailure, match="name in URL does not match name in Binding object") as caught:
        check_binding({"target": {"name": "n"}}, "p")
    assert caught.value.code == 400


def budget(allowed: int, **status: int) -> Object:
    return {
        "metadata": {"name": "b", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "a"}}},
        "status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "desiredHealthy": 1, **status},
    }


def running(ready: str = "True", **labels: str) -> Object:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
    return pod(status=status) | {"metadata": {"name": "p", "labels": labels}}


@pytest.mark.parametrize(
    ("evicted", "budgets", "charged"),
    [
        (running(app="a"), [], False),
        (running(app="z"), [budget(0)], False),
        (pod(status={"phase": "Succeeded"}), [budget(0)], False),
        (running(app="a"), [budget(1)], True),
        (running("False", app="a"), [budget(0, currentHealthy=1)], False),
        (running("False", app="a"), [budget(1)], True),
    ],
)
def test_an_eviction_is_taken_from_the_pods_budget(evicted: Object, budgets: list[Object], charged: bool) -> None:
    assert (budget_to_charge(evicted, budgets) is not None) == charged


@pytest.mark.parametrize(
    ("budgets", "code", "problem"),
    [
        ([budget(0, currentHealthy=0)], 429, "needs 1 healthy pods and has 0 currently"),
        ([budget(1, observedGeneration=0)], 429, "is still being processed by the server"),
        ([budget(1), budget(1)], 500, ""),
    ],
)
def test_an_eviction_that_is_refused(budgets: list[Object], code: int, problem: str) -> None:
    with pytest.raises(ApiFailure) as caught:
        budget_to_charge(running(app="a"), budgets)
    assert caught.value.code == code
    assert problem in str(caught.value.body.get("details"))


def test_an_eviction_is_written_down() -> None:
    assert charged_budget(budget(2), "p", NOW)["status"]["disruptionsAllowed"] == 1
    assert charged_budget(budget(2), "p", NOW)["status"]["disruptedPods"] == {"p": NOW}
    condition = evicted_pod(running(), NOW)["status"]["conditions"][-1]
    assert (condition["type"], condition["reason"]) == ("DisruptionTarget", "EvictionByEvictionAPI")
    with pytest.raises(ApiFailure, match="name in URL does not match"):
        check_eviction({"metadata": {"name": "q"}}, "p")


def test_a_pods_status_keeps_what_its_writer_leaves_out() -> None:
    seen = [{"type": "Ready", "status": "True", "observedGeneration": 3}]
    old = pod(status={"qosClass": "Burstable", "observedGeneration": 3, "conditions": seen})
    new = pod(spec={"nodeName": "n"}, status={"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]})
    stored = prepare_builtin_status(POD, new, old)
    assert stored["spec"] == old["spec"]
    assert (stored["status"]["qosClass"], stored["status"]["observedGeneration"]) == ("Burstable", 3)
    assert stored["status"]["conditions"][0]["observedGeneration"] == 3


def terminated(policy: str, code: int, running_again: bool) -> tuple[Object, Object]:
    state = {"running": {}} if running_again else {"terminated": {"exitCode": code}}
    ended = {"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": code}}}]}
    spec = {"restartPolicy": policy}
    return pod(spec=spec, status={"containerStatuses": [{"name": "c", "state": state}]}), pod(spec=spec, status=ended)


@pytest.mark.parametrize(
    ("policy", "code", "allowed"),
    [("Always", 0, True), ("OnFailure", 1, True), ("OnFailure", 0, False), ("Never", 1, False)],
)
def test_a_container_that_ended_runs_again_only_as_its_policy_says(policy: str, code: int, allowed: bool) -> None:
    new, old = terminated(policy, code, running_again=True)
    assert (builtin_status_causes(POD, new, old) == []) == allowed
    new, old = terminated(policy, code, running_again=False)
    assert builtin_status_causes(POD, new, old) == []


@pytest.mark.parametrize(
    ("kind", "status", "fields"),
    [
        (DEPLOYMENT, {"replicas": 2, "readyReplicas": 1, "availableReplicas": 1}, []),
        (STATEFUL_SET, {"replicas": 1, "readyReplicas": -1}, ["status.readyReplicas", "status.availableReplicas"]),
        (DEPLOYMENT, {"replicas": 1, "readyReplicas": 2}, ["status.readyReplicas"]),
        (DEPLOYMENT, {"replicas": 1, "availableReplicas": 1}, ["status.availableReplicas"]),
        (STATEFUL_SET, {"replicas": 1, "currentReplicas": 2}, ["status.currentReplicas"]),
    ],
)
def test_counts_of_pods_fit_together(kind: Kind, status: Object, fields: list[str]) -> None:
    obj = with_builtin_defaults(kind, {"metadata": {"name": "d"}, "status": status})
    assert [cause.field for cause in builtin_status_causes(kind, obj, obj)] == fields


def test_what_the_generation_counts() -> None:
    old = {"metadata": {"annotations": {"a": "1"}}, "spec": {"replicas": 1}, "status": {"replicas": 0}}
    relabelled = {**old, "metadata": {"annotations": {"a": "1"}, "labels": {"b": "c"}}}
    assert not counts_as_change(DEPLOYMENT, {**old, "status": {"replicas": 1}}, old, {})
    assert not counts_as_change(DEPLOYMENT, relabelled, old, {})
    assert counts_as_change(DEPLOYMENT, {**old, "metadata": {}}, old, {})
    assert not counts_as_change(POD, {**old, "metadata": {}}, old, {})
    assert counts_as_change(POD, {**old, "spec": {}}, old, {})


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        ({"podSelector": {}}, False),
        ({"podSelector": {}, "policyTypes": []}, False),
        ({"podSelector": {}, "ingress": []}, True),
        ({"podSelector": {"matchLabels": {}}}, True),
    ],
)
def test_an_empty_list_that_is_not_stored_is_a_change_of_a_network_policy(spec: Object, counts: bool) -> None:
    sent = {"metadata": {"name": "p"}, "spec": spec}
    policy = with_builtin_defaults(NETWORK_POLICY, sent)
    assert policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    assert counts_as_change(NETWORK_POLICY, policy, policy, sent) == counts
