"""The one reading of `spec.serverless`, and the names and labels of a unit (contract 5.2, 6.1)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.gpuunit import (
    DRAINING_ANNOTATION,
    MANAGED_LABEL,
    MANAGED_LABELS,
    MAX_UNIT_NAME,
    OnWorkerLoss,
    UnitSpecError,
    check_unit_name,
    deployment_name,
    is_draining,
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
        ({"maxAvailableCount": 1, "templateOnly": True, "onWorkerLoss": "never", "maxAttempts": 1}, False),
        ({"onWorkerLoss": "nonsense"}, False),
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
    assert (resolved.max_available_count, resolved.template_only) == (0, False)
    assert (resolved.on_worker_loss, resolved.max_attempts) == ("retry", 3)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"maxAvailableCount": 0, "templateOnly": False, "onWorkerLoss": "", "maxAttempts": 0}, {}),
        ({"maxAvailableCount": None, "templateOnly": None, "onWorkerLoss": None, "maxAttempts": None}, {}),
        ({"onWorkerLoss": " retry ", "maxAttempts": 3}, {}),
        ({"onWorkerLoss": " never ", "maxAttempts": 1}, {"onWorkerLoss": "never", "maxAttempts": 1}),
        ({"maxAvailableCount": 2, "templateOnly": True}, {"maxAvailableCount": 2, "templateOnly": True}),
        (
            {"minAvailableCount": 2, "maxAvailableCount": 2},
            {"minAvailableCount": 2, "maxAvailableCount": 2},
        ),
        ({"minAvailableCount": 2}, {"minAvailableCount": 2}),
    ],
)
def test_what_the_contract_does_not_know_is_stored_only_where_it_differs(given: Any, stored: Any) -> None:
    """A15: a pool's limits and what a lost worker's invocations become, invisible to who uses none of them."""
    plain, resolved = resolve_serverless({"requestID": "tts"}), resolve_serverless({"requestID": "tts", **given})
    assert plain is not None
    assert resolved is not None
    assert resolved.to_json() == {**plain.to_json(), **stored}
    assert resolve_serverless(resolved.to_json()) == resolved


def test_what_becomes_of_a_lost_workers_invocations() -> None:
    resolved = resolve_serverless({"requestID": "tts", "onWorkerLoss": "never"})
    assert resolved is not None
    assert resolved.on_worker_loss is OnWorkerLoss.NEVER


def test_given_values_are_kept() -> None:
    block = {
        "enabled": True,
        "requestID": "tts",
        "minAvailableCount": 2,
        "idleTimeoutSeconds": 60,
        "minRequestCount": 4,
        "maxAvailableCount": 5,
        "templateOnly": True,
        "onWorkerLoss": "never",
        "maxAttempts": 2,
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
        ({"requestID": "a", "maxAvailableCount": -1}, "serverless.maxAvailableCount"),
        ({"requestID": "a", "maxAvailableCount": "1"}, "serverless.maxAvailableCount"),
        ({"requestID": "a", "minAvailableCount": 2, "maxAvailableCount": 1}, "serverless.maxAvailableCount"),
        ({"requestID": "a", "templateOnly": 1}, "serverless.templateOnly"),
        ({"requestID": "a", "templateOnly": "false"}, "serverless.templateOnly"),
        ({"requestID": "a", "onWorkerLoss": "always"}, "serverless.onWorkerLoss"),
        ({"requestID": "a", "onWorkerLoss": True}, "serverless.onWorkerLoss"),
        ({"requestID": "a", "maxAttempts": -1}, "serverless.maxAttempts"),
        ({"requestID": "a", "maxAttempts": 2**31}, "serverless.maxAttempts"),
    ],
)
def test_wrong_fields_are_named(block: dict[str, Any], field: str) -> None:
    with pytest.raises(UnitSpecError) as caught:
        resolve_serverless(block)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


def test_the_limit_must_leave_room_for_the_warm_workers() -> None:
    with pytest.raises(UnitSpecError, match=r"^serverless\.maxAvailableCount: must not be below minAvailableCount$"):
        resolve_serverless({"requestID": "a", "minAvailableCount": 2, "maxAvailableCount": 1})


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


@pytest.mark.parametrize(
    ("metadata", "draining"),
    [
        ({}, False),
        ({"annotations": None}, False),
        ({"annotations": {"runtime.lokiwager.io/operation-id": "op-1"}}, False),
        ({"annotations": {"runtime.lokiwager.io/draining": "2026-03-04T05:06:07Z"}}, True),
    ],
)
def test_is_draining(metadata: dict[str, Any], draining: bool) -> None:
    assert is_draining({"metadata": metadata}) is draining


def test_marks_are_the_platforms_own() -> None:
    assert DRAINING_ANNOTATION == "runtime.lokiwager.io/draining"
    assert MANAGED_LABEL == "runtime.lokiwager.io/managed"
    assert MANAGED_LABEL not in MANAGED_LABELS
