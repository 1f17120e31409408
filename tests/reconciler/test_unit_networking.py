"""The Service and the NetworkPolicy of a unit (contract 6.1, 6.4)."""

from collections.abc import Callable
from typing import Any

import pytest

from simulator.kube.kinds import Object
from simulator.reconciler.network_policy import network_policy_for, queue_rules
from simulator.reconciler.service import service_for
from simulator.reconciler.settings import NetworkPolicyTarget, ReconcilerSettings

MakeUnit = Callable[..., Object]

LABELS = {"app": "nats"}
PORTS = {"template": {"ports": [{"name": "http", "port": 8080}, {"name": "udp", "port": 53, "protocol": "UDP"}]}}


def pods(namespace: str, port: int = 4222) -> Object:
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": LABELS},
    }
    return {"to": [peer], "ports": [{"protocol": "TCP", "port": port}]}


def block(cidr: str, port: int = 4222) -> Object:
    return {"to": [{"ipBlock": {"cidr": cidr}}], "ports": [{"protocol": "TCP", "port": port}]}


def test_service(make_unit: MakeUnit) -> None:
    service = service_for(make_unit(**PORTS))
    assert service is not None
    assert (service["kind"], service["metadata"]["name"]) == ("Service", "unit-u1")
    assert service["spec"] == {
        "type": "ClusterIP",
        "selector": {"runtime.lokiwager.io/unit": "u1"},
        "ports": [
            {"name": "http", "port": 8080, "targetPort": 8080, "protocol": "TCP"},
            {"name": "udp", "port": 53, "targetPort": 53, "protocol": "UDP"},
        ],
    }


def test_no_service_without_ports_or_pods_to_reach(make_unit: MakeUnit) -> None:
    template = {"requestID": "tts", "templateOnly": True}
    assert service_for(make_unit()) is None
    assert service_for(make_unit(namespace="runtime-stock", **PORTS)) is None
    assert service_for(make_unit(serverless=template, **PORTS)) is None
    assert service_for(make_unit(namespace="runtime-stock", serverless=template, **PORTS)) is None


def test_a_template_keeps_the_policy_of_the_pod_that_it_may_have_had(
    make_unit: MakeUnit, settings: ReconcilerSettings
) -> None:
    worker, template = ({"requestID": "tts", "templateOnly": only} for only in (False, True))
    before, after = (network_policy_for(make_unit(serverless=block), settings) for block in (worker, template))
    assert after == before


def test_network_policy(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    policy = network_policy_for(make_unit(), settings)
    assert (policy["kind"], policy["metadata"]["name"]) == ("NetworkPolicy", "egress-u1")
    assert policy["spec"] == {
        "podSelector": {"matchLabels": {"runtime.lokiwager.io/unit": "u1"}},
        "policyTypes": ["Egress"],
        "egress": [
            {
                "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
                "ports": [{"protocol": "TCP", "port": 53}, {"protocol": "UDP", "port": 53}],
            },
            {
                "to": [
                    {
                        "ipBlock": {
                            "cidr": "0.0.0.0/0",
                            "except": [
                                "10.0.0.0/8",
                                "100.64.0.0/10",
                                "169.254.0.0/16",
                                "172.16.0.0/12",
                                "192.168.0.0/16",
                            ],
                        }
                    }
                ]
            },
        ],
    }


@pytest.mark.parametrize(
    ("cidrs", "expected"),
    [
        ((), {"cidr": "0.0.0.0/0"}),
        (("fd00::/8", "10.0.0.0/8"), {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}),
    ],
)
def test_other_blocked_ranges(make_unit: MakeUnit, cidrs: tuple[str, ...], expected: Object) -> None:
    """Only ranges within the rule's own may be taken out of it."""
    policy = network_policy_for(make_unit(), ReconcilerSettings(blocked_cidrs=cidrs))
    assert policy["spec"]["egress"][1]["to"][0]["ipBlock"] == expected


@pytest.mark.parametrize(
    ("url", "target", "rules"),
    [
        pytest.param("nats://nats.messaging.svc", NetworkPolicyTarget("", LABELS), [pods("messaging")], id="service"),
        pytest.param(
            "nats://nats.messaging.svc.cluster.local:4333",
            NetworkPolicyTarget("queue", LABELS),
            [pods("queue", 4333)],
            id="target-namespace-wins",
        ),
        pytest.param(
            "nats://nats-0.nats.messaging.svc:4222",
            NetworkPolicyTarget("", LABELS),
            [pods("messaging")],
            id="C7-headless-pod-name",
        ),
        pytest.param("nats", NetworkPolicyTarget("queue", LABELS), [pods("queue")], id="C7-short-name-no-scheme"),
        pytest.param("nats.queue", NetworkPolicyTarget("queue", LABELS), [pods("queue")], id="C7-name-and-namespace"),
        pytest.param(
            "nats://n-0.n.q.svc:4222,nats://n-1.n.q.svc:4222,nats://n-1.n.q.svc:4223",
            NetworkPolicyTarget("", LABELS),
            [pods("q"), pods("q", 4223)],
            id="C7-list-of-servers",
        ),
        pytest.param("nats://10.9.8.7:4333", None, [block("10.9.8.7/32", 4333)], id="blocked-address"),
        pytest.param("nats://[fd00::7]", None, [block("fd00::7/128")], id="C7-ipv6-address"),
        pytest.param("nats://203.0.113.9", None, [], id="public-address"),
        pytest.param("nats://127.0.0.1:4222", None, [], id="loopback-address"),
        pytest.param("nats://[::1]:4222", None, [], id="loopback-ipv6-address"),
        pytest.param("nats://localhost", NetworkPolicyTarget("queue", LABELS), [], id="loopback-name"),
        pytest.param("nats://nats.example.com", None, [], id="public-name"),
        pytest.param("nats.queue", None, [], id="perhaps-public-name"),
        pytest.param("", None, [], id="no-queue"),
    ],
)
def test_rule_for_the_queue(url: str, target: NetworkPolicyTarget | None, rules: list[Any]) -> None:
    assert queue_rules(ReconcilerSettings(nats_url=url, network_policy_target=target)) == rules


def test_only_serverless_units_reach_the_queue(make_unit: MakeUnit) -> None:
    settings = ReconcilerSettings(nats_url="nats://10.9.8.7")
    plain = network_policy_for(make_unit(), settings)["spec"]["egress"]
    serverless = network_policy_for(make_unit(serverless={"requestID": "tts"}), settings)["spec"]["egress"]
    assert serverless == [*plain, block("10.9.8.7/32")]
