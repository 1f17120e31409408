"""The OpenAPI document is the shipped one, says what the types say, and has the routes that are served."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from simulator.api.app import create_app
from simulator.api.openapi import document, main
from simulator.api.openapi_operations import OPERATIONS
from simulator.api.openapi_schemas import BODY_RULES, component_schemas
from simulator.api.units_request import parse_create
from simulator.gpuunit import check_unit_name

if TYPE_CHECKING:
    from tests.api.conftest import Api


def parts_of(value: object) -> Iterator[dict[str, Any]]:
    """Every object within a JSON document."""
    if isinstance(value, dict):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from parts_of(child)


def test_the_shipped_document_is_that_of_the_types() -> None:
    assert main(["--check"]) == 0


def test_a_shipped_document_that_is_old_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "openapi.json"
    assert main(["--check"], file) == 1
    file.write_text("{}", encoding="utf-8")
    assert main(["--check"], file) == 1
    assert capsys.readouterr().err.count("python -m simulator.api.openapi") == 2
    assert main([], file) == 0
    assert main(["--check"], file) == 0


def test_the_documented_routes_are_the_served_ones() -> None:
    documented = sorted((path, method) for path, methods in document()["paths"].items() for method in methods)
    served = sorted(
        (route.resource.canonical, route.method.lower())
        for route in create_app(None, None).router.routes()
        if route.resource
    )
    assert documented == served


def test_every_operation_has_a_name_of_its_own_and_all_its_path_parameters() -> None:
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    for operation in OPERATIONS:
        described = [parameter["name"] for parameter in operation.parameters if parameter["in"] == "path"]
        assert described == re.findall(r"{(\w+)}", operation.path)


def test_every_component_is_a_schema_and_is_used_and_every_reference_leads_to_one() -> None:
    components = component_schemas()
    for schema in components.values():
        Draft202012Validator.check_schema(schema)
    used = {part["$ref"].rpartition("/")[2] for part in parts_of(document()) if "$ref" in part}
    assert used == set(components)


def test_the_rules_of_bodies_are_about_fields_that_there_are() -> None:
    components = component_schemas()
    for body, component in (("CreateBody", "UnitCreate"), ("InvocationBody", "Invocation")):
        assert BODY_RULES[body].keys() <= components[component]["properties"].keys()
    assert components["Invocation"]["required"] == ["serverlessRequestID"]
    assert sorted(components["UnitCreate"]["required"]) == ["image", "name", "operationID", "specName"]


@pytest.mark.parametrize("name", ["a", "a-b", "0", "a" * 50, "a" * 51, "-a", "a-", "a.b", ""])
def test_the_documented_form_of_a_unit_name_is_the_rule(name: str) -> None:
    pattern = component_schemas()["UnitCreate"]["properties"]["name"]["pattern"]
    try:
        check_unit_name(name)
        accepted = True
    except ValueError:
        accepted = False
    assert bool(re.search(pattern, name)) is accepted


def test_the_least_body_that_is_documented_is_accepted() -> None:
    schema = component_schemas()["UnitCreate"]
    body = b'{"operationID":"o","name":"n","specName":"s","image":"i"}'
    assert set(schema["required"]) == {"operationID", "name", "specName", "image"}
    assert parse_create(body).name == "n"


async def test_the_document_is_served_as_it_is_shipped(api: "Api") -> None:
    answer = await api.call("GET", "/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.body == document()
