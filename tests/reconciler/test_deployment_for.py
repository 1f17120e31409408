"""The Deployment of a unit (contract 6.1, 6.2, 6.3)."""

from collections.abc import Callable
from typing import Any

import pytest

from simulator.gpuunit import UnitSpecError
from simulator.kube.kinds import Object
from simulator.reconciler.deployment import deployment_for
from simulator.reconciler.settings import ReconcilerSettings
from simulator.reconciler.status import spec_failure_reason

MakeUnit = Callable[..., Object]

SERVERLESS = {"requestID": "TTS-small"}
SOCKET = "/tmp/serverless-framework/framework.sock"


def pod_of(deployment: Object) -> Any:
    return deployment["spec"]["template"]["spec"]


def runtime_of(deployment: Object) -> Any:
    [runtime] = pod_of(deployment)["containers"]
    return runtime


def sidecar_of(deployment: Object) -> Any:
    return pod_of(deployment)["initContainers"][0]


def env_of(container: Any) -> list[tuple[str, str]]:
    return [(entry["name"], entry["value"]) for entry in container["env"] if "value" in entry]


def test_name_labels_and_owner(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    """M3: called like the unit; the selector uses the unit's label only."""
    deployment = deployment_for(make_unit(), settings)
    labels = {
        "app.kubernetes.io/name": "gpu-runtime-unit",
        "app.kubernetes.io/managed-by": "gpu-runtime-operator",
        "runtime.lokiwager.io/unit": "u1",
    }
    metadata, spec = deployment["metadata"], deployment["spec"]
    assert (metadata["name"], metadata["namespace"]) == ("u1", "runtime-instance")
    assert metadata["labels"] == spec["template"]["metadata"]["labels"] == labels
    assert spec["selector"] == {"matchLabels": {"runtime.lokiwager.io/unit": "u1"}}
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "runtime.lokiwager.io/v1alpha1",
            "kind": "GPUUnit",
            "name": "u1",
            "uid": "uid-of-u1",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def test_one_pod_at_a_time(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    """C10: never two pods with one worker name and one durable consumer."""
    spec = deployment_for(make_unit(), settings)["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("template", "serverless", "command", "args"),
    [
        ({}, {}, ["sh", "-c", "sleep 3600"], None),
        ({"command": ["run"]}, {}, ["run"], None),
        ({"args": ["--fast"]}, {}, None, ["--fast"]),
        ({"command": ["run"], "args": ["--fast"]}, {}, ["run"], ["--fast"]),
        ({}, SERVERLESS, None, None),
        ({"command": ["run"]}, SERVERLESS, ["run"], None),
        ({"args": ["--fast"]}, SERVERLESS, None, ["--fast"]),
    ],
)
def test_what_the_runtime_container_runs(
    make_unit: MakeUnit,
    settings: ReconcilerSettings,
    template: Object,
    serverless: Object,
    command: list[str] | None,
    args: list[str] | None,
) -> None:
    """M6: a serverless unit runs its image's own entrypoint; only a plain one without any command sleeps."""
    runtime = runtime_of(deployment_for(make_unit(template=template, serverless=serverless), settings))
    assert runtime["name"] == "runtime-worker"
    assert (runtime.get("command"), runtime.get("args")) == (command, args)


def test_image(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    assert runtime_of(deployment_for(make_unit(), settings))["image"] == "busybox:1.36"
    runtime = runtime_of(deployment_for(make_unit(image="example/tts:3"), settings))
    assert (runtime["image"], runtime["imagePullPolicy"]) == ("example/tts:3", "IfNotPresent")


def test_resources_and_shared_memory(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    deployment = deployment_for(make_unit(memory="8Gi", gpu=2), settings)
    wanted = {"memory": "8Gi", "nvidia.com/gpu": "2"}
    assert runtime_of(deployment)["resources"] == {"requests": wanted, "limits": wanted}
    assert runtime_of(deployment)["volumeMounts"] == [{"name": "runtime-shm", "mountPath": "/dev/shm"}]
    assert pod_of(deployment)["volumes"] == [
        {"name": "runtime-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "4Gi"}}
    ]


def test_without_memory_and_gpu_there_is_neither(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    deployment = deployment_for(make_unit(), settings)
    assert not {"resources", "volumeMounts", "ports"} & runtime_of(deployment).keys()
    assert pod_of(deployment).keys() == {"automountServiceAccountToken", "containers"}


def test_runtime_env_of_a_plain_unit(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    template = {"envs": [{"name": "A", "value": "1"}, {"name": "B"}]}
    assert env_of(runtime_of(deployment_for(make_unit(template=template, memory="1Gi", gpu=1), settings))) == [
        ("SPEC_NAME", "g1.1"),
        ("UNIT_NAME", "u1"),
        ("GPU_COUNT", "1"),
        ("MEMORY_LIMIT", "1Gi"),
        ("A", "1"),
        ("B", ""),
    ]


def test_runtime_env_of_a_serverless_unit(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    """The platform's variables come last and win over the user's; no name is there twice, as no apply takes that."""
    template = {"envs": [{"name": "SERVERLESS_REQUEST_ID", "value": "mine"}]}
    assert env_of(runtime_of(deployment_for(make_unit(template=template, serverless=SERVERLESS), settings))) == [
        ("SPEC_NAME", "g1.1"),
        ("UNIT_NAME", "u1"),
        ("GPU_COUNT", "0"),
        ("MEMORY_LIMIT", ""),
        ("SERVERLESS_REQUEST_ID", "tts-small"),
        ("SERVERLESS_WORKER_NAME", "u1"),
        ("SERVERLESS_WORKER_NAMESPACE", "runtime-instance"),
        ("SERVERLESS_FRAMEWORK_SOCKET_PATH", SOCKET),
        ("SERVERLESS_FRAMEWORK_INVOKE_PATH", "/invoke"),
        ("SERVERLESS_FRAMEWORK_HEALTH_PATH", "/healthz"),
    ]


def test_the_user_container_learns_nothing_of_the_queue(make_unit: MakeUnit) -> None:
    settings = ReconcilerSettings(nats_url="nats://u:s3cret@127.0.0.1:4222", stream_name="HIDDEN", subject_prefix="h.p")
    runtime = str(runtime_of(deployment_for(make_unit(serverless=SERVERLESS), settings)))
    assert not [word for word in ("s3cret", "4222", "HIDDEN", "h.p", "CONSUMER") if word in runtime]


def test_a_variable_of_the_user_wins_over_a_description_of_the_unit(
    make_unit: MakeUnit, settings: ReconcilerSettings
) -> None:
    template = {"envs": [{"name": "GPU_COUNT", "value": "many"}, {"name": "A", "value": "1"}]}
    env = env_of(runtime_of(deployment_for(make_unit(template=template), settings)))
    assert env == [
        ("SPEC_NAME", "g1.1"),
        ("UNIT_NAME", "u1"),
        ("MEMORY_LIMIT", ""),
        ("GPU_COUNT", "many"),
        ("A", "1"),
    ]


@pytest.mark.parametrize("serverless", [{}, SERVERLESS])
def test_user_code_gets_no_token_of_the_cluster(
    make_unit: MakeUnit, settings: ReconcilerSettings, serverless: Object
) -> None:
    pod = pod_of(deployment_for(make_unit(serverless=serverless), settings))
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod


def test_sidecar_container(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    """C1: besides the start-up probe, the kubelet asks the sidecar whether it is ready for work."""
    deployment = deployment_for(make_unit(serverless=SERVERLESS), settings)
    sidecar = sidecar_of(deployment)
    assert len(pod_of(deployment)["initContainers"]) == 1
    assert sidecar["name"] == "serverless-sidecar"
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["image"] == "ghcr.io/lokiwager/gpu-runtime-serverless-sidecar:latest"
    assert sidecar["imagePullPolicy"] == "IfNotPresent"
    assert sidecar["startupProbe"] == {
        "httpGet": {"path": "/healthz", "port": 8091},
        "periodSeconds": 1,
        "failureThreshold": 30,
    }
    assert sidecar["readinessProbe"] == {"httpGet": {"path": "/readyz", "port": 8091}, "periodSeconds": 1}
    assert not {"livenessProbe", "resources", "ports", "command", "args"} & sidecar.keys()


def test_sidecar_env(make_unit: MakeUnit) -> None:
    """Dispatch limits are injected only when they are set."""
    settings = ReconcilerSettings(
        nats_url="nats://127.0.0.1:4222", subject_prefix="p.q", stream_name="S", heartbeat_interval_s=0.3, health_port=9
    )
    serverless = {**SERVERLESS, "framework": {"invokePath": "run/", "healthPath": "//live"}}
    sidecar = sidecar_of(deployment_for(make_unit(serverless=serverless), settings))
    assert env_of(sidecar) == [
        ("SERVERLESS_NATS_URL", "nats://127.0.0.1:4222"),
        ("SERVERLESS_SUBJECT_PREFIX", "p.q"),
        ("SERVERLESS_STREAM_NAME", "S"),
        ("SERVERLESS_WORKER_NAME", "u1"),
        ("SERVERLESS_WORKER_NAMESPACE", "runtime-instance"),
        ("SERVERLESS_REQUEST_ID", "tts-small"),
        ("SERVERLESS_WORKER_CONSUMER_NAME", "serverless-sidecar-u1"),
        ("SERVERLESS_HEARTBEAT_INTERVAL", "300ms"),
        ("SERVERLESS_FRAMEWORK_SOCKET_PATH", SOCKET),
        ("SERVERLESS_FRAMEWORK_INVOKE_PATH", "/run"),
        ("SERVERLESS_FRAMEWORK_HEALTH_PATH", "/live"),
        ("SERVERLESS_SIDECAR_HEALTH_PORT", "9"),
    ]
    assert sidecar["env"][-1] == {
        "name": "SERVERLESS_SIDECAR_HEALTH_HOST",
        "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}},
    }


def test_dispatch_limits(make_unit: MakeUnit) -> None:
    settings = ReconcilerSettings(nats_url="127.0.0.1", dispatch_max_deliver=5, dispatch_backoff_s=(0.5, 10, 30))
    env = env_of(sidecar_of(deployment_for(make_unit(serverless=SERVERLESS), settings)))
    assert env[-2:] == [("SERVERLESS_DISPATCH_MAX_DELIVER", "5"), ("SERVERLESS_DISPATCH_BACKOFF", "500ms,10s,30s")]


def test_both_containers_agree_on_every_path(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    """C5: one cleaned form."""
    serverless = {**SERVERLESS, "framework": {"socketPath": "/tmp/serverless-framework//a/../b.sock"}}
    deployment = deployment_for(make_unit(serverless=serverless), settings)
    paths = [
        {pair for pair in env_of(container) if pair[0].startswith("SERVERLESS_FRAMEWORK_")}
        for container in (runtime_of(deployment), sidecar_of(deployment))
    ]
    assert paths[0] == paths[1]
    assert ("SERVERLESS_FRAMEWORK_SOCKET_PATH", "/tmp/serverless-framework/b.sock") in paths[0]


def test_the_sidecar_drains_before_the_runtime_container_ends(make_unit: MakeUnit) -> None:
    """S14: Kubernetes stops main containers before sidecars; without the hook that would cut running calls off."""
    deployment = deployment_for(
        make_unit(serverless=SERVERLESS), ReconcilerSettings(nats_url="127.0.0.1", health_port=9)
    )
    assert runtime_of(deployment)["lifecycle"] == {"preStop": {"httpGet": {"path": "/drain", "port": 9}}}
    assert "lifecycle" not in sidecar_of(deployment)
    assert "lifecycle" not in runtime_of(deployment_for(make_unit(), ReconcilerSettings(nats_url="127.0.0.1")))


def test_socket_volume(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    deployment = deployment_for(make_unit(serverless=SERVERLESS), settings)
    mount = {"name": "serverless-framework-socket", "mountPath": "/tmp/serverless-framework"}
    assert pod_of(deployment)["volumes"] == [{"name": "serverless-framework-socket", "emptyDir": {}}]
    assert runtime_of(deployment)["volumeMounts"] == sidecar_of(deployment)["volumeMounts"] == [mount]


def test_the_sidecar_sees_the_socket_volume_only(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    mounts = [{"name": "models", "mountPath": "/models"}]
    deployment = deployment_for(make_unit(serverless=SERVERLESS, memory="1Gi", storageMounts=mounts), settings)
    assert [volume["name"] for volume in pod_of(deployment)["volumes"]] == [
        "storage-0",
        "runtime-shm",
        "serverless-framework-socket",
    ]
    assert len(runtime_of(deployment)["volumeMounts"]) == 3
    assert [mount["name"] for mount in sidecar_of(deployment)["volumeMounts"]] == ["serverless-framework-socket"]


def test_security_context_of_every_container(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    deployment = deployment_for(make_unit(serverless=SERVERLESS), settings)
    for container in (runtime_of(deployment), sidecar_of(deployment)):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert " ".join(context["capabilities"]["drop"]) == (
            "AUDIT_CONTROL AUDIT_READ BLOCK_SUSPEND DAC_READ_SEARCH IPC_LOCK IPC_OWNER KILL MAC_ADMIN MAC_OVERRIDE "
            "MKNOD SETPCAP SYS_ADMIN SYS_MODULE SYS_RAWIO SYS_RESOURCE SYS_TIME WAKE_ALARM"
        )
        users = {"runAsUser", "runAsGroup"} if container["name"] == "serverless-sidecar" else set()
        assert context.keys() == {"allowPrivilegeEscalation", "seccompProfile", "capabilities"} | users


def test_the_sidecar_is_another_user_that_shares_a_group(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    """S24: the socket's group is the pod's, so that both sides may use it whatever their users are."""
    deployment = deployment_for(make_unit(serverless=SERVERLESS), settings)
    context = sidecar_of(deployment)["securityContext"]
    assert pod_of(deployment)["securityContext"] == {"fsGroup": 64100}
    assert (context["runAsUser"], context["runAsGroup"]) == (64101, 64101)
    assert "securityContext" not in pod_of(deployment_for(make_unit(), settings))


CREDENTIALS_FILE = "/var/run/serverless-sidecar/nats.creds"


def test_credentials_come_from_a_secret_and_to_the_sidecar_only(make_unit: MakeUnit) -> None:
    """S22, S23, C8, C9: each worker's own, in nobody's environment, and not in the user's container."""
    settings = ReconcilerSettings(nats_url="nats://127.0.0.1:4222", worker_credentials=True)
    deployment = deployment_for(make_unit(serverless=SERVERLESS), settings)
    [volume] = [volume for volume in pod_of(deployment)["volumes"] if "secret" in volume]
    assert volume["secret"] == {"secretName": "u1-nats", "defaultMode": 0o440}
    mount = {"name": volume["name"], "mountPath": "/var/run/serverless-sidecar", "readOnly": True}
    assert mount in sidecar_of(deployment)["volumeMounts"]
    assert ("SERVERLESS_NATS_CREDENTIALS_FILE", CREDENTIALS_FILE) in env_of(sidecar_of(deployment))
    runtime = str(runtime_of(deployment))
    assert not [word for word in (volume["name"], "CREDENTIALS", "serverless-sidecar", "NATS") if word in runtime]


def test_without_worker_credentials_no_pod_waits_for_a_secret(
    make_unit: MakeUnit, settings: ReconcilerSettings
) -> None:
    deployment = deployment_for(make_unit(serverless=SERVERLESS), settings)
    assert "secret" not in str(pod_of(deployment)).lower()
    assert "SERVERLESS_NATS_CREDENTIALS_FILE" not in dict(env_of(sidecar_of(deployment)))
    plain = deployment_for(make_unit(), ReconcilerSettings(nats_url="127.0.0.1", worker_credentials=True))
    assert pod_of(plain).keys() == {"automountServiceAccountToken", "containers"}


def test_concurrency_reaches_the_sidecar_when_it_is_set(make_unit: MakeUnit) -> None:
    """S4: how many calls a worker takes at a time."""
    settings = ReconcilerSettings(nats_url="127.0.0.1", max_concurrency=8)
    env = env_of(sidecar_of(deployment_for(make_unit(serverless=SERVERLESS), settings)))
    assert env[-1] == ("SERVERLESS_MAX_CONCURRENCY", "8")


@pytest.mark.parametrize(
    "serverless", [{}, {"enabled": False}, {"framework": {"invokePath": "/run", "healthPath": "/live"}}]
)
def test_no_trace_of_a_sidecar_without_serverless(
    make_unit: MakeUnit, settings: ReconcilerSettings, serverless: Object
) -> None:
    """C4: a framework path alone gives no half a worker."""
    assert "SERVERLESS" not in str(deployment_for(make_unit(serverless=serverless), settings)).upper()


def test_a_stock_unit_gets_no_sidecar(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    deployment = deployment_for(make_unit(namespace="runtime-stock", serverless=SERVERLESS), settings)
    assert "initContainers" not in pod_of(deployment)


def test_a_template_has_the_pod_of_its_workers_but_no_replica(
    make_unit: MakeUnit, settings: ReconcilerSettings
) -> None:
    """Switching it on or off changes nothing but the number of pods."""
    worker, template = (
        deployment_for(make_unit(serverless={**SERVERLESS, "templateOnly": only}), settings)["spec"]
        for only in (False, True)
    )
    assert (worker.pop("replicas"), template.pop("replicas")) == (1, 0)
    assert worker == template


def test_a_template_is_checked_as_its_workers_will_be(make_unit: MakeUnit) -> None:
    unit = make_unit(serverless={**SERVERLESS, "templateOnly": True})
    with pytest.raises(UnitSpecError, match="queue URL"):
        deployment_for(unit, ReconcilerSettings(nats_url=""))


def test_a_stock_unit_is_never_a_template(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    unit = make_unit(namespace="runtime-stock", serverless={**SERVERLESS, "templateOnly": True})
    assert deployment_for(unit, settings)["spec"]["replicas"] == 1


def test_serverless_without_a_queue(make_unit: MakeUnit) -> None:
    with pytest.raises(UnitSpecError, match="queue URL") as caught:
        deployment_for(make_unit(serverless=SERVERLESS), ReconcilerSettings())
    assert spec_failure_reason(caught.value) == "InvalidSpec"
    assert deployment_for(make_unit(), ReconcilerSettings())["kind"] == "Deployment"


def test_health_port_clash(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    """C12: containers of a pod share their ports."""
    template = {"ports": [{"name": "http", "port": 8091}]}
    with pytest.raises(UnitSpecError, match="health port") as caught:
        deployment_for(make_unit(template=template, serverless=SERVERLESS), settings)
    assert spec_failure_reason(caught.value) == "InvalidSpec"
    assert deployment_for(make_unit(template=template), settings)["kind"] == "Deployment"
