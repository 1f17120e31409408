"""What a CustomResourceDefinition makes: its resources, its status, and what clients learn of it."""

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from simulator.kube.crds import (
    crd_status,
    is_established,
    platform_crd,
    served_by,
    with_crd_defaults,
    with_stored_version,
)
from simulator.kube.discovery import aggregated, document, entity_tag, wants_aggregated
from simulator.kube.kinds import ALL_KINDS, GPUUNIT, POD, Object
from simulator.kube.registry import Registry
from simulator.kube.resources import served_builtin
from simulator.kube.schema import openapi
from simulator.kube.schema.decode import parsed_body
from simulator.kube.schema.go_json import plain
from simulator.kube.schema.model import Schema

GOLDEN = Path(__file__).parent / "golden"
PROBE = Path(__file__).parent / "schema_golden" / "probe-crd.yaml"
NOW = "2026-01-01T00:00:00Z"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def probe_crd() -> Object:
    crd, _ = parsed_body(PROBE.read_bytes(), "application/yaml")
    return with_stored_version(with_crd_defaults(plain(crd)))


def recorded(case: str, sequence: int) -> Any:
    lines = map(json.loads, (GOLDEN / "discovery.jsonl").read_text().splitlines())
    return next(line["response"]["body"] for line in lines if (line["case"], line["seq"]) == (case, sequence))


@pytest.fixture
def registry() -> Registry:
    registry = Registry(served_builtin(kind) for kind in ALL_KINDS if not kind.custom)
    for served in served_by(platform_crd()):
        registry.add(served)
    return registry


def test_the_platforms_definition_makes_its_kind() -> None:
    [served] = served_by(platform_crd())
    assert astuple(served.kind) == astuple(served.storage) == astuple(GPUUNIT)
    assert served.schema.properties["spec"].properties["template"].properties["envs"].list_map_keys == ("name",)
    assert [column.name for column in served.columns] == ["Spec", "Phase", "Access", "Age"]


def test_each_served_version_is_a_resource_and_one_is_stored() -> None:
    crd = probe_crd()
    [version] = crd["spec"]["versions"]
    older = {**version, "name": "v1beta1", "storage": False, "deprecated": True, "subresources": None}
    unserved = {**older, "name": "v1alpha1", "served": False}
    crd["spec"]["versions"] = [version, older, unserved]
    current, deprecated = served_by(crd)
    assert (current.kind.version, deprecated.kind.version) == ("v1", "v1beta1")
    assert astuple(deprecated.storage) == astuple(current.kind)
    assert deprecated.deprecation == "ks.example.com/v1beta1 Probe is deprecated"
    assert (current.kind.has_status, current.kind.has_scale, deprecated.kind.has_status) == (True, True, False)
    assert [column.name for column in current.columns] == ["Age"]


def test_names_are_accepted_unless_another_definition_has_them() -> None:
    crd = probe_crd()
    crd["status"] = crd_status(crd, [], NOW)
    assert is_established(crd)
    assert [(entry["type"], entry["status"], entry["reason"]) for entry in crd["status"]["conditions"]] == [
        ("NamesAccepted", "True", "NoConflicts"),
        ("Established", "True", "InitialNamesAccepted"),
    ]
    assert crd["status"]["acceptedNames"] == crd["spec"]["names"]
    assert crd["status"]["storedVersions"] == ["v1"]
    rival = probe_crd()
    rival["spec"]["names"] = {"plural": "others", "singular": "probe", "kind": "Other", "listKind": "OtherList"}
    rival["status"] = crd_status(rival, [crd], NOW)
    assert not is_established(rival)
    accepted, established = rival["status"]["conditions"]
    assert (accepted["reason"], accepted["message"]) == ("SingularConflict", '"probe" is already in use')
    assert established["reason"] == "NotAccepted"
    assert "singular" not in rival["status"]["acceptedNames"]


def test_conditions_that_stay_keep_their_time() -> None:
    crd = probe_crd()
    crd["status"] = crd_status(crd, [], NOW)
    later = crd_status(crd, [], "2027-01-01T00:00:00Z")
    assert {condition["lastTransitionTime"] for condition in later["conditions"]} == {NOW}


def test_resources_come_and_go(registry: Registry) -> None:
    [served] = served_by(probe_crd())
    registry.add(served)
    assert registry.at("ks.example.com", "v1", "probes") is registry.named("ks.example.com/v1", "Probe") is served
    assert registry.of(POD).subresource("eviction") is not None
    registry.remove(served.kind)
    assert registry.at("ks.example.com", "v1", "probes") is registry.named("ks.example.com/v1", "Probe") is None
    assert document("/apis/ks.example.com", registry) is None


@pytest.mark.parametrize(
    ("sequence", "path"),
    [(3, "/apis/runtime.lokiwager.io"), (4, "/apis/apps"), (6, "/apis/runtime.lokiwager.io/v1alpha1")],
)
def test_document_of_a_group(sequence: int, path: str, registry: Registry) -> None:
    assert document(path, registry) == recorded("legacy", sequence)


@pytest.mark.parametrize(("sequence", "path"), [(5, "/api/v1"), (7, "/apis/apps/v1")])
def test_resources_that_are_served_are_listed_as_recorded(sequence: int, path: str, registry: Registry) -> None:
    body = recorded("legacy", sequence)
    found = document(path, registry)
    assert found is not None
    names = {entry["name"] for entry in found["resources"]}
    known = [entry for entry in body["resources"] if entry["name"] in names]
    listed = {entry["name"] for entry in known}
    assert [entry for entry in found["resources"] if entry["name"] in listed] == known
    assert len(known) >= 9
    assert found.get("apiVersion") == body.get("apiVersion")


def test_groups_are_in_the_order_of_the_real_server(registry: Registry) -> None:
    found = document("/apis", registry)
    assert found is not None
    names = [group["name"] for group in found["groups"]]
    assert names == [
        *("apps", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "apiextensions.k8s.io"),
        *("coordination.k8s.io", "runtime.lokiwager.io"),
    ]


def test_the_aggregated_form_has_the_same_resources(registry: Registry) -> None:
    def resources(body: Any) -> dict[tuple[str, str], Any]:
        return {
            (item["metadata"].get("name", ""), resource["resource"]): resource
            for item in body["items"]
            for version in item["versions"]
            for resource in version["resources"]
        }

    compared = 0
    for sequence, path in ((1, "/apis"), (2, "/api")):
        found = aggregated(path, registry)
        known = resources(recorded("aggregated", sequence))
        for name, resource in resources(found).items():
            if name in known:
                assert resource == known[name]
                compared += 1
    assert compared >= 13
    assert aggregated("/apis/apps", registry) is None


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("application/json", False),
        (f"{AGGREGATED},application/json", True),
        (f"application/json,{AGGREGATED}", False),
        ("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json", False),
        (f"application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,{AGGREGATED}", True),
        ("", False),
    ],
)
def test_which_form_a_client_wants(accept: str, wanted: bool) -> None:
    assert wants_aggregated(accept) is wanted


def test_the_tag_of_a_document_changes_with_it(registry: Registry) -> None:
    before = aggregated("/apis", registry)
    assert before is not None
    tag = entity_tag(before)
    for served in served_by(probe_crd()):
        registry.add(served)
    after = aggregated("/apis", registry)
    assert after is not None
    assert entity_tag(after) != tag


def test_openapi_document_of_a_definition(registry: Registry) -> None:
    recorded_crd = probe_crd()
    for served in served_by(recorded_crd):
        registry.add(served)
    found = openapi.document("apis/ks.example.com/v1", registry)
    assert found is not None
    schema = found["components"]["schemas"]["com.example.ks.v1.Probe"]
    raw = recorded_crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["properties"]["spec"] == raw["properties"]["spec"]
    assert schema["x-kubernetes-group-version-kind"] == [{"group": "ks.example.com", "kind": "Probe", "version": "v1"}]
    assert "/apis/ks.example.com/v1/namespaces/{namespace}/probes/{name}/scale" in found["paths"]


def test_openapi_operations_are_those_recorded(registry: Registry) -> None:
    body = recorded("openapi", 2)
    found = openapi.document("apis/runtime.lokiwager.io/v1alpha1", registry)
    assert found is not None
    assert list(found["paths"]) == list(body["paths"])
    for path, operations in body["paths"].items():
        for method, operation in operations.items():
            ours = found["paths"][path][method]
            if method == "parameters":
                assert [parameter["name"] for parameter in ours] == operation
                continue
            assert ours["operationId"] == operation["operationId"]
            assert [parameter["name"] for parameter in ours["parameters"]] == operation["parameters"]
            assert list(ours.get("requestBody", {}).get("content", ())) == operation["request"]
            assert {code: list(answer.get("content", ())) for code, answer in ours["responses"].items()} == (
                operation["responses"]
            )


def test_openapi_index_names_documents_by_their_content(registry: Registry) -> None:
    before = openapi.index(registry)["paths"]
    assert {"api/v1", "apis", "apis/apps", "apis/apps/v1", "apis/runtime.lokiwager.io/v1alpha1"} <= set(before)
    assert openapi.document("apis/nothing.example/v1", registry) is None
    for served in served_by(probe_crd()):
        registry.add(served)
    after = openapi.index(registry)["paths"]
    assert after["apis/apps/v1"] == before["apis/apps/v1"]
    assert set(after) - set(before) == {"apis/ks.example.com/v1"}


def test_every_reference_of_an_openapi_document_is_in_it(registry: Registry) -> None:
    for name in openapi.index(registry)["paths"]:
        text = json.dumps(openapi.document(name, registry))
        schemas = json.loads(text)["components"]["schemas"]
        used = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
        assert used <= set(schemas)


def test_the_older_form_of_openapi_has_the_same_definitions(registry: Registry) -> None:
    found = openapi.version_2(registry)
    text = json.dumps(found)
    used = {part.split('"')[0] for part in text.split("#/definitions/")[1:]}
    assert used <= set(found["definitions"])
    assert "#/components/schemas/" not in text
    assert {"io.k8s.api.apps.v1.Deployment", "io.lokiwager.runtime.v1alpha1.GPUUnit"} <= set(found["definitions"])


def test_every_built_in_kind_has_a_schema(registry: Registry) -> None:
    schemas: list[Schema] = [served.schema for served in registry]
    assert len(schemas) == len(ALL_KINDS)
    assert all(schema.properties["metadata"].type == "object" for schema in schemas)


def test_a_pods_containers_are_merged_by_name(registry: Registry) -> None:
    containers = registry.of(POD).schema.properties["spec"].properties["containers"]
    assert (containers.patch_strategy, containers.patch_merge_key) == (("merge",), "name")
    assert (containers.list_type, containers.list_map_keys) == ("map", ("name",))
    assert containers.items is not None
    command = containers.items.properties["command"]
    assert (command.list_type, command.go and command.go.type) == ("atomic", "[]string")
    ports = containers.items.properties["ports"]
    assert (ports.list_map_keys, ports.patch_merge_key) == (("containerPort", "protocol"), "containerPort")
