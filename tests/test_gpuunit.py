"""The one reading of `spec.serverless`, and the names and labels of a unit (contract 5.2, 6.1)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.gpuunit import (
    MAX_UNIT_NAME,
    UnitSpecError,
    check_unit_name,
    deployment_name,
    is_ready,
    is_stock,
    network_policy_name,
    object_labels,
    resolve_serverless,
    service_name,
)

SOCKET = "/tmp/serverless-framework/framework.sock"


@pytest.mark.parametrize(
    ("block", "enabled"),
    [
        (None, False),
        ({}, False),
        ({"enabled": False}, False),
        ({"requestID": "   "}, False),
        ({"enabled": True, "requestID": "tts"}, True),
        ({"requestID": "tts"}, True),
        ({"enabled": False, "requestID": "tts"}, True),
        ({"minAvailableCount": 1, "requestID": "tts"}, True),
        ({"framework": {"invokePath": "/run"}}, False),
    ],
)
def test_when_a_unit_is_serverless(block: dict[str, Any] | None, enabled: bool) -> None:
    """C4: API, reconciler and activator ask this one function; a framework path alone makes no worker."""
    assert (resolve_serverless(block) is not None) is enabled


@pytest.mark.parametrize("number", ["minAvailableCount", "idleTimeoutSeconds", "minRequestCount"])
def test_each_number_enables_and_then_a_request_id_is_required(number: str) -> None:
    """C4: numbers alone are an error, not a worker without a pool."""
    with pytest.raises(UnitSpecError, match="required") as caught:
        resolve_serverless({number: 1})
    assert caught.value.field == "serverless.requestID"


def test_defaults() -> None:
    resolved = resolve_serverless({"requestID": " TTS_Small "})
    assert resolved is not None
    assert resolved.to_json() == {
        "enabled": True,
        "requestID": "tts_small",
        "idleTimeoutSeconds": 300,
        "framework": {"socketPath": SOCKET, "invokePath": "/invoke", "healthPath": "/healthz"},
    }


def test_given_values_are_kept() -> None:
    block = {
        "enabled": True,
        "requestID": "tts",
        "minAvailableCount": 2,
        "idleTimeoutSeconds": 60,
        "minRequestCount": 4,
        "framework": {
            "socketPath": "/tmp/serverless-framework/a/b.sock",
            "invokePath": "/run",
            "healthPath": "/live",
        },
    }
    resolved = resolve_serverless(block)
    assert resolved is not None
    assert resolved.to_json() == block
    assert resolve_serverless(resolved.to_json()) == resolved


@pytest.mark.parametrize(
    ("framework", "field"),
    [
        ({"socketPath": "/run/other.sock"}, "socketPath"),
        ({"socketPath": "/tmp/serverless-framework/../x.sock"}, "socketPath"),
        ({"socketPath": "/tmp/serverless-framework"}, "socketPath"),
        ({"socketPath": f"/tmp/serverless-framework/{'s' * 82}"}, "socketPath"),
        ({"socketPath": 7}, "socketPath"),
        ({"invokePath": "/a b"}, "invokePath"),
        ({"invokePath": "/a?b"}, "invokePath"),
        ({"healthPath": "/a#b"}, "healthPath"),
        ({"healthPath": ["/live"]}, "healthPath"),
        ({"invokePath": "/same", "healthPath": "same/"}, "healthPath"),
        ({"invokePath": "/healthz"}, "healthPath"),
    ],
)
def test_wrong_framework_paths(framework: dict[str, Any], field: str) -> None:
    """C12: equal paths and sockets that no address can hold are refused, as is what the contract forbids."""
    with pytest.raises(UnitSpecError) as caught:
        resolve_serverless({"requestID": "tts", "framework": framework})
    assert caught.value.field == f"serverless.framework.{field}"


@pytest.mark.parametrize(
    ("framework", "expected"),
    [
        ({"invokePath": "invoke/"}, "/invoke"),
        ({"invokePath": "/"}, "/invoke"),
        ({"invokePath": "//a/./b/../c/"}, "/a/c"),
        ({"invokePath": " /run "}, "/run"),
    ],
)
def test_paths_have_one_form(framework: dict[str, Any], expected: str) -> None:
    """C5: what the API stores is what sidecar and framework get."""
    resolved = resolve_serverless({"requestID": "tts", "framework": framework})
    assert resolved is not None
    assert resolved.invoke_path == expected


def test_the_longest_socket_path_is_accepted() -> None:
    path = f"/tmp/serverless-framework/{'s' * 81}"
    resolved = resolve_serverless({"requestID": "tts", "framework": {"socketPath": path}})
    assert resolved is not None
    assert len(resolved.socket_path) == 107


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ({"requestID": "a.b"}, "serverless.requestID"),
        ({"requestID": "a b"}, "serverless.requestID"),
        ({"requestID": 5}, "serverless.requestID"),
        ({"enabled": True}, "serverless.requestID"),
        ({"requestID": "a", "minAvailableCount": -1}, "serverless.minAvailableCount"),
        ({"requestID": "a", "idleTimeoutSeconds": 2**31}, "serverless.idleTimeoutSeconds"),
        ({"requestID": "a", "minRequestCount": 1.5}, "serverless.minRequestCount"),
        ({"requestID": "a", "minRequestCount": True}, "serverless.minRequestCount"),
        ({"requestID": "a", "framework": "/invoke"}, "serverless.framework"),
    ],
)
def test_wrong_fields_are_named(block: dict[str, Any], field: str) -> None:
    with pytest.raises(UnitSpecError) as caught:
        resolve_serverless(block)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


@given(st.dictionaries(st.sampled_from(["invokePath", "healthPath", "socketPath"]), st.text(max_size=120)))
def test_resolving_twice_changes_nothing(framework: dict[str, str]) -> None:
    """C5: the resolved form is a fixed point."""
    try:
        resolved = resolve_serverless({"requestID": "tts", "framework": framework})
    except UnitSpecError:
        return
    assert resolved is not None
    assert resolve_serverless(resolved.to_json()) == resolved


@pytest.mark.parametrize("name", ["a", "sd-webui", "0a", "a" * MAX_UNIT_NAME])
def test_good_unit_names(name: str) -> None:
    assert check_unit_name(f" {name.upper()} ") == name


@pytest.mark.parametrize("name", ["", "  ", "-a", "a-", "a.b", "a_b", "ä", "a" * (MAX_UNIT_NAME + 1)])
def test_bad_unit_names(name: str) -> None:
    """C11: no dots, and short enough that no object's name is ever cut."""
    with pytest.raises(UnitSpecError) as caught:
        check_unit_name(name)
    assert caught.value.field == "name"


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?", fullmatch=True))
def test_names_of_a_units_objects_are_never_cut(name: str) -> None:
    """C11: so two units never share an object."""
    assert deployment_name(name) == name
    assert service_name(name) == f"unit-{name}"
    assert network_policy_name(name) == f"egress-{name}"
    assert object_labels(name)["runtime.lokiwager.io/unit"] == name


def test_labels() -> None:
    assert object_labels("u1") == {
        "app.kubernetes.io/name": "gpu-runtime-unit",
        "app.kubernetes.io/managed-by": "gpu-runtime-operator",
        "runtime.lokiwager.io/unit": "u1",
    }


@pytest.mark.parametrize(
    ("status", "metadata", "ready"),
    [
        ({"phase": "Ready"}, {}, True),
        ({"phase": "Ready"}, {"deletionTimestamp": "2026-03-04T05:06:07Z"}, False),
        ({"phase": "Progressing"}, {}, False),
        ({"phase": "Failed"}, {}, False),
        (None, {}, False),
    ],
)
def test_is_ready(status: dict[str, Any] | None, metadata: dict[str, Any], ready: bool) -> None:
    assert is_ready({"metadata": metadata, "status": status}) is ready


@pytest.mark.parametrize(("namespace", "stock"), [("runtime-stock", True), ("runtime-instance", False), ("a", False)])
def test_is_stock(namespace: str, stock: bool) -> None:
    assert is_stock({"metadata": {"namespace": namespace}}) is stock
