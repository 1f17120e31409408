"""The platform's objects, as golden YAML, as Kubernetes' own schemas want them, and as the parts need them.

`UPDATE_GOLDEN=1 pytest ...` writes the golden files anew; read the diff.
"""

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]
import msgspec
import pytest

from simulator.install.keys import PlatformKeys
from simulator.install.manifests import manifests, to_yaml
from simulator.install.names import PARTS, PLATFORM_LABELS
from simulator.install.settings import InstallSettings
from simulator.kube.kinds import Object
from tests.install.fixed_keys import fixed_keys

GOLDEN = Path(__file__).parent / "golden"
OLDEST, NEWEST = "1.29", "1.36"
"""The first Kubernetes that has all that is used, and the one that the embedded API is like."""

CASES = {
    "default": InstallSettings(),
    "kind": InstallSettings(api_node_port=30080, nats_node_port=30422),
    "everything": InstallSettings(
        namespace="gpu-platform",
        image_prefix="registry.example:5000/team",
        tag="1.2.3",
        nats_image="registry.example:5000/nats:2.12",
        storage="20Gi",
        storage_class="fast-ssd",
        api_node_port=31000,
        max_concurrency=4,
        gpu_budget=16,
    ),
}
KIND = CASES["kind"]


def objects_of(settings: InstallSettings) -> list[Object]:
    return manifests(settings, fixed_keys())


def shown(obj: Object) -> Object:
    """The object as it may be kept in a repository: of a Secret the names of its keys."""
    if obj["kind"] != "Secret":
        return obj
    return {**obj, "data": dict.fromkeys(obj["data"], "(a secret)")}


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for obj in objects:
        if obj["kind"] in ("Deployment", "StatefulSet"):
            yield obj["metadata"]["name"], obj["spec"]["template"]["spec"]


def named(objects: list[Object], kind: str) -> dict[str, Object]:
    return {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == kind}


@pytest.mark.parametrize("case", CASES)
def test_golden_manifests(case: str) -> None:
    path = GOLDEN / f"{case}.yaml"
    found = to_yaml([shown(obj) for obj in objects_of(CASES[case]) if obj["kind"] != "CustomResourceDefinition"])
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found)
    else:
        assert found.splitlines() == path.read_text().splitlines()


def test_every_golden_file_has_its_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(CASES)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.timeout(120)
def test_the_published_schemas_are_kept() -> None:
    for obj in objects_of(KIND):
        kubernetes_validate.validate(obj, NEWEST, strict=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_oldest_schemas_are_kept() -> None:
    """One object of each kind, and all that run: reading the schemas takes long."""
    objects = objects_of(KIND)
    one_each = {obj["kind"]: obj for obj in objects}
    running = [obj for obj in objects if obj["kind"] in ("Deployment", "StatefulSet")]
    for obj in [*one_each.values(), *running]:
        kubernetes_validate.validate(obj, OLDEST, strict=True)


def test_the_yaml_is_read_back_as_the_same_objects() -> None:
    objects = objects_of(KIND)
    documents = to_yaml(objects).split("---\n")[1:]
    assert [msgspec.yaml.decode(document) for document in documents] == objects


@pytest.mark.parametrize("case", CASES)
def test_each_object_is_there_once_and_bears_the_labels_by_which_it_is_found(case: str) -> None:
    objects = objects_of(CASES[case])
    keys = [(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]) for obj in objects]
    assert len(keys) == len(set(keys))
    for obj in objects:
        assert PLATFORM_LABELS.items() <= obj["metadata"]["labels"].items()


@pytest.mark.parametrize("case", CASES)
def test_no_empty_list_is_applied(case: str) -> None:
    """A cluster drops it, so that applying the same again would change the object each time."""
    for obj in objects_of(CASES[case]):
        if obj["kind"] != "CustomResourceDefinition":
            assert "[]" not in msgspec.json.encode(obj).decode(), obj["metadata"]["name"]


def test_namespaces_come_before_what_is_in_them() -> None:
    seen = set()
    for obj in objects_of(KIND):
        if obj["kind"] == "Namespace":
            seen.add(obj["metadata"]["name"])
        assert obj["metadata"].get("namespace") in seen | {None}


@pytest.mark.parametrize("case", CASES)
def test_pods_meet_the_restricted_pod_security_standard(case: str) -> None:
    found = dict(pods(objects_of(CASES[case])))
    assert len(found) == len(PARTS) + 1
    for pod in found.values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}


def test_containers_say_what_they_need_and_are_probed() -> None:
    for name, pod in pods(objects_of(KIND)):
        for container in pod["containers"]:
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
            ports = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert container[probe]["httpGet"]["port"] in ports, name


def test_whoever_serves_callers_does_so_until_no_node_leads_them_there() -> None:
    """A node hears later than the pod that the pod ends; calls that come meanwhile would be lost."""
    objects = objects_of(KIND)
    served = [obj["spec"]["selector"] for obj in objects if obj["kind"] == "Service"]
    for obj in objects:
        if obj["kind"] in ("Deployment", "StatefulSet"):
            [container] = obj["spec"]["template"]["spec"]["containers"]
            assert ("preStop" in container.get("lifecycle", {})) == (obj["spec"]["selector"]["matchLabels"] in served)


@pytest.mark.parametrize("case", CASES)
def test_what_pods_refer_to_is_there(case: str) -> None:
    objects = objects_of(CASES[case])
    secrets, maps = named(objects, "Secret"), named(objects, "ConfigMap")
    for _, pod in pods(objects):
        assert pod.get("serviceAccountName", "none") in named(objects, "ServiceAccount").keys() | {"none"}
        for volume in pod["volumes"]:
            if source := volume.get("secret"):
                items = {item["key"] for item in source.get("items", [])}
                assert items <= secrets[source["secretName"]]["data"].keys()
            else:
                assert volume["configMap"]["name"] in maps


def test_only_those_who_call_the_cluster_have_a_token_for_it() -> None:
    tokens = {name for name, pod in pods(objects_of(KIND)) if pod["automountServiceAccountToken"]}
    bound = {
        subject["name"]
        for obj in objects_of(KIND)
        if obj["kind"] in ("ClusterRoleBinding", "RoleBinding")
        for subject in obj["subjects"]
    }
    assert tokens == {"gpuunit-sim-api", "gpuunit-sim-activator", "gpuunit-sim-reconciler", "gpuunit-sim-issuer"}
    assert bound == {name.removeprefix("gpuunit-sim-") for name in tokens}


def test_only_the_issuer_sees_the_operators_key_and_no_other_key() -> None:
    mounted = {
        name: volume["secret"]
        for name, pod in pods(objects_of(KIND))
        for volume in pod["volumes"]
        if volume.get("secret", {}).get("secretName") == "gpuunit-sim-keys"
    }
    assert list(mounted) == ["gpuunit-sim-issuer"]
    assert mounted["gpuunit-sim-issuer"]["items"] == [{"key": "operator.nk", "path": "operator.nk"}]


def test_s22_no_secret_is_anywhere_but_in_secrets() -> None:
    keys = fixed_keys()
    private = [*keys.seeds.values(), *(base64.b64encode(seed.encode()).decode() for seed in keys.seeds.values())]
    public = to_yaml([obj for obj in manifests(KIND, keys) if obj["kind"] != "Secret"])
    assert not [seed for seed in private if seed in public]
    assert "nats://" in public
    assert "@" not in "".join(line for line in public.splitlines() if "nats://" in line)


def test_new_credentials_make_new_pods() -> None:
    first, second = (dict(annotations(manifests(KIND, keys))) for keys in (fixed_keys(), PlatformKeys.fresh()))
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} == first.keys() - {"gpuunit-sim-reconciler"}
    assert dict(annotations(manifests(KIND, fixed_keys()))) == first


def annotations(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for obj in objects:
        if obj["kind"] in ("Deployment", "StatefulSet"):
            yield obj["metadata"]["name"], obj["spec"]["template"]["metadata"].get("annotations", {})


def test_everything_is_closed_but_what_is_named() -> None:
    policies = {
        (policy["metadata"]["namespace"], policy["metadata"]["name"]): policy["spec"]
        for policy in objects_of(CASES["default"])
        if policy["kind"] == "NetworkPolicy"
    }
    assert policies["gpuunit-sim", "gpuunit-sim-deny-all"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    queue = policies["gpuunit-sim", "gpuunit-sim-nats"]
    assert "egress" not in queue
    [rule] = queue["ingress"]
    assert [port["port"] for port in rule["ports"]] == [4222]
    assert len(rule["from"]) == 3
    for namespace in ("runtime-instance", "runtime-stock"):
        units = policies[namespace, "gpuunit-sim-units"]
        assert (units["podSelector"], "egress" in units) == ({}, False)


def test_a_nodes_port_for_the_queue_opens_it_to_all_addresses() -> None:
    [policy] = [
        obj
        for obj in objects_of(KIND)
        if (obj["kind"], obj["metadata"]["name"]) == ("NetworkPolicy", "gpuunit-sim-nats")
    ]
    assert policy["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": 4222}]}]


def test_a_drained_node_never_takes_all_of_a_part_that_there_are_several_of() -> None:
    objects = objects_of(KIND)
    budgets = named(objects, "PodDisruptionBudget")
    for name, obj in {**named(objects, "Deployment"), **named(objects, "StatefulSet")}.items():
        assert budgets[name]["spec"]["selector"] == obj["spec"]["selector"]
        assert budgets[name]["spec"]["maxUnavailable"] == 1
        assert (
            obj["spec"]["template"]["spec"]["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
        )
    assert {name for name, obj in named(objects, "Deployment").items() if obj["spec"]["replicas"] > 1} == {
        "gpuunit-sim-api",
        "gpuunit-sim-activator",
        "gpuunit-sim-reconciler",
    }
