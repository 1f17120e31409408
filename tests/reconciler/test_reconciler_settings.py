"""Settings are refused at start, with a message that says what to do (C6); queue URLs and quantities."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import UsageError
from simulator.reconciler.quantity import QuantityError, format_bytes, parse_bytes
from simulator.reconciler.queue_url import QueueHost, QueueUrlError, queue_hosts
from simulator.reconciler.settings import DEFAULT_SIDECAR_IMAGE, NetworkPolicyTarget, ReconcilerSettings

IN_CLUSTER = "nats://nats.messaging.svc.cluster.local:4222"
LABELS = {"app": "nats"}


def test_defaults() -> None:
    settings = ReconcilerSettings()
    assert dataclasses.asdict(settings) == {
        "nats_url": "",
        "subject_prefix": "runtime.serverless",
        "stream_name": "RUNTIME_SERVERLESS",
        "sidecar_image": "ghcr.io/lokiwager/gpu-runtime-serverless-sidecar:latest",
        "heartbeat_interval_s": 15,
        "health_port": 8091,
        "network_policy_target": None,
        "blocked_cidrs": ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
        "dispatch_max_deliver": None,
        "dispatch_backoff_s": (),
        "max_concurrency": None,
        "worker_credentials": False,
    }


def test_values_are_normalised() -> None:
    settings = ReconcilerSettings(
        nats_url=" nats://127.0.0.1:4222 ",
        subject_prefix=" .a.b. ",
        stream_name=" S ",
        sidecar_image="  ",
        network_policy_target=NetworkPolicyTarget(" messaging ", {" app ": " nats "}),
        blocked_cidrs=("192.168.0.0/16", " 10.0.0.0/8", "10.0.0.0/8", "fd00::/8"),
    )
    assert settings.nats_url == "nats://127.0.0.1:4222"
    assert settings.subject_prefix == "a.b"
    assert settings.stream_name == "S"
    assert settings.sidecar_image == DEFAULT_SIDECAR_IMAGE
    assert settings.network_policy_target == NetworkPolicyTarget("messaging", {"app": "nats"})
    assert settings.blocked_cidrs == ("10.0.0.0/8", "192.168.0.0/16", "fd00::/8")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"subject_prefix": "a.*"}, "subject prefix"),
        ({"stream_name": "a.b"}, "stream name"),
        ({"nats_url": "http://127.0.0.1:4222"}, "nats://host:4222"),
        ({"nats_url": "nats://"}, "nats://host:4222"),
        ({"nats_url": "nats://127.0.0.1:many"}, "nats://host:4222"),
        ({"nats_url": "nats://127.0.0.1:70000"}, "nats://host:4222"),
        ({"nats_url": "nats://[::1"}, "nats://host:4222"),
        ({"heartbeat_interval_s": 0}, "heartbeat interval"),
        ({"heartbeat_interval_s": -1}, "heartbeat interval"),
        ({"heartbeat_interval_s": float("inf")}, "heartbeat interval"),
        ({"heartbeat_interval_s": float("nan")}, "heartbeat interval"),
        ({"health_port": 0}, "health port"),
        ({"health_port": 65536}, "health port"),
        ({"blocked_cidrs": ("10.0.0.1/8",)}, "blocked range"),
        ({"blocked_cidrs": ("everything",)}, "blocked range"),
        ({"dispatch_max_deliver": 0}, "max deliver"),
        ({"max_concurrency": 0}, "max concurrency"),
        ({"dispatch_backoff_s": (2, 0)}, "more than 0"),
        ({"dispatch_max_deliver": 1, "dispatch_backoff_s": (2, 10)}, "more than the 1 deliveries"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ReconcilerSettings(**wrong)


@pytest.mark.parametrize(
    ("namespace", "labels"),
    [
        ("Messaging", {}),
        ("a.b", {}),
        ("a" * 64, {}),
        ("", {"": "nats"}),
        ("", {"a b": "nats"}),
        ("", {"/app": "nats"}),
        ("", {"Upper.io/app": "nats"}),
        ("", {"app": "-nats"}),
        ("", {"app": "n" * 64}),
    ],
)
def test_wrong_network_policy_target(namespace: str, labels: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="network policy target"):
        NetworkPolicyTarget(namespace, labels)


@pytest.mark.parametrize("labels", [{"app": ""}, {"app.kubernetes.io/name": "nats"}, {"A_b.c": "x_Y.1-z"}])
def test_good_pod_labels(labels: dict[str, str]) -> None:
    assert NetworkPolicyTarget("messaging", labels).pod_labels == labels


@pytest.mark.parametrize(
    "url", [IN_CLUSTER, "nats-0.nats.messaging.svc:4222", "nats://nats", f"{IN_CLUSTER},nats://b.example.com"]
)
@pytest.mark.parametrize("target", [None, NetworkPolicyTarget("messaging")])
def test_a_queue_in_the_cluster_needs_a_target(url: str, target: NetworkPolicyTarget | None) -> None:
    """C6: found at start, not unit by unit under a reason that hides it. C7: whatever form the host's name has."""
    with pytest.raises(UsageError, match="set the network policy target"):
        ReconcilerSettings(nats_url=url, network_policy_target=target)


def test_a_target_without_any_namespace() -> None:
    with pytest.raises(UsageError, match="needs a namespace"):
        ReconcilerSettings(nats_url="nats://nats:4222", network_policy_target=NetworkPolicyTarget(pod_labels=LABELS))


@pytest.mark.parametrize(
    "url", ["", "nats://127.0.0.1:1", "localhost:4222", "nats://10.1.2.3", "tls://nats.example.com"]
)
def test_other_queues_need_no_target(url: str) -> None:
    assert ReconcilerSettings(nats_url=url).nats_url == url


def test_a_password_in_the_url_is_not_in_the_message() -> None:
    with pytest.raises(UsageError) as caught:
        ReconcilerSettings(nats_url="http://user:secret@host:1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("", []),
        ("nats://Broker.example.com.", [("broker.example.com", 4222)]),
        ("nats://u:p@10.0.0.1:4333", [("10.0.0.1", 4333)]),
        ("nats://[fd00::1]:4222", [("fd00::1", 4222)]),
        ("nats.messaging.svc", [("nats.messaging.svc", 4222)]),
        ("nats://a:1, nats://b:2", [("a", 1), ("b", 2)]),
    ],
)
def test_queue_hosts(url: str, hosts: list[tuple[str, int]]) -> None:
    """C7: lists of servers and URLs without a scheme are understood."""
    assert [(host.name, host.port) for host in queue_hosts(url)] == hosts


@pytest.mark.parametrize("url", ["nats://a b", "nats://a,,nats://b", "amqp://a", ":4222"])
def test_wrong_queue_urls(url: str) -> None:
    with pytest.raises(QueueUrlError, match="nats://host:4222"):
        queue_hosts(url)


@pytest.mark.parametrize(
    ("name", "namespace", "in_cluster"),
    [
        ("nats.messaging.svc", "messaging", True),
        ("nats.messaging.svc.cluster.local", "messaging", True),
        ("nats-0.nats.messaging.svc.cluster.local", "messaging", True),
        ("nats", "", True),
        ("nats.messaging", "", False),
        ("svc.example.com", "", False),
        ("nats.svc", "", False),
        ("10.0.0.1", "", False),
        ("localhost", "", False),
        ("::1", "", False),
    ],
)
def test_where_a_host_is(name: str, namespace: str, in_cluster: bool) -> None:
    host = QueueHost(name, 4222)
    assert (host.namespace, host.is_in_cluster) == (namespace, in_cluster)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("1024", 1024),
        ("1Ki", 1024),
        ("8Gi", 8 * 2**30),
        ("1.5Gi", 3 * 2**29),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("1e3", 1000),
        ("12E2", 1200),
        ("500m", 1),
        ("-1Mi", -(2**20)),
        (".5k", 500),
    ],
)
def test_quantities(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "Gi", "1GB", "1 Gi", "one", "1Gi2", "1e", "0x10"])
def test_no_quantities(text: str) -> None:
    with pytest.raises(QuantityError, match="512Mi"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (1000, "1000"), (1536, "1536"), (2**29, "512Mi"), (2**42, "4Ti")]
)
def test_bytes_are_written_in_the_largest_fitting_unit(count: int, text: str) -> None:
    assert format_bytes(count) == text


@given(st.integers(min_value=0, max_value=2**63))
def test_written_bytes_are_read_back(count: int) -> None:
    assert parse_bytes(format_bytes(count)) == count
