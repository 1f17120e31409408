"""What valid create and change bodies become (contract 4.2 and 5.2)."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.api.request_body import InvalidRequestError
from simulator.api.units_request import parse_create, parse_update, updated_spec
from simulator.kube.kinds import Object

VALID: Object = {"operationID": "op-1", "name": "tts", "specName": "s1", "image": "tts:1"}


def ports(*ports: object) -> Object:
    return {"template": {"ports": list(ports)}}


def created(**changes: object) -> Object:
    return parse_create(msgspec.json.encode({**VALID, **changes})).spec


def test_the_smallest_request_leaves_everything_optional_out() -> None:
    request = parse_create(msgspec.json.encode({**VALID, "operationID": " op-1 ", "name": " TTS ", "unknown": 1}))
    assert (request.operation_id, request.name) == ("op-1", "tts")
    assert request.spec == {"specName": "s1", "image": "tts:1"}


# Each row: changes to the request, and the part of the spec that follows.
NORMALISED: list[tuple[Object, Object]] = [
    ({"specName": " s2 ", "image": " i "}, {"specName": "s2", "image": "i"}),
    (
        {"packageID": " p ", "cpu": "500m", "memory": " 8Gi ", "gpu": 2},
        {"packageID": "p", "cpu": "500m", "memory": "8Gi", "gpu": 2},
    ),
    ({"cpu": "1.5", "memory": "1e9"}, {"cpu": "1.5", "memory": "1e9"}),
    ({"packageID": None, "cpu": "", "gpu": 0, "template": {}, "access": None, "ssh": {"enabled": False}}, {}),
    ({"template": {"command": ["sh", " -c "], "args": []}}, {"template": {"command": ["sh", " -c "]}}),
    (
        {"template": {"envs": [{"name": " A "}, {"name": "b.c-d", "value": " x "}]}},
        {"template": {"envs": [{"name": "A"}, {"name": "b.c-d", "value": " x "}]}},
    ),
    (
        ports({"name": " api ", "port": 1}, {"name": "a-1", "port": 65535, "protocol": "UDP"}),
        {
            "template": {
                "ports": [
                    {"name": "api", "port": 1, "protocol": "TCP"},
                    {"name": "a-1", "port": 65535, "protocol": "UDP"},
                ]
            },
            "access": {"primaryPort": "api", "scheme": "http"},
        },
    ),
    (
        {
            **ports({"name": "api", "port": 9000}, {"name": "web", "port": 80}),
            "access": {"primaryPort": " web ", "scheme": " HTTPS "},
        },
        {
            "template": {
                "ports": [
                    {"name": "api", "port": 9000, "protocol": "TCP"},
                    {"name": "web", "port": 80, "protocol": "TCP"},
                ]
            },
            "access": {"primaryPort": "web", "scheme": "https"},
        },
    ),
    ({"serverless": {"framework": {"invokePath": "/run"}}}, {}),
    ({"serverless": {"enabled": False, "requestID": " "}}, {}),
    (
        {"serverless": {"requestID": " TTS-Small ", "minAvailableCount": 1}},
        {
            "serverless": {
                "enabled": True,
                "requestID": "tts-small",
                "minAvailableCount": 1,
                "idleTimeoutSeconds": 300,
                "framework": {
                    "socketPath": "/tmp/serverless-framework/framework.sock",
                    "invokePath": "/invoke",
                    "healthPath": "/healthz",
                },
            }
        },
    ),
    ({"serverless": {"maxAvailableCount": 1, "templateOnly": True, "maxAttempts": 1}}, {}),
    (
        {
            "serverless": {
                "requestID": "tts",
                "maxAvailableCount": 4,
                "templateOnly": True,
                "onWorkerLoss": " never ",
                "maxAttempts": 2,
            }
        },
        {
            "serverless": {
                "enabled": True,
                "requestID": "tts",
                "idleTimeoutSeconds": 300,
                "maxAvailableCount": 4,
                "templateOnly": True,
                "onWorkerLoss": "never",
                "maxAttempts": 2,
                "framework": {
                    "socketPath": "/tmp/serverless-framework/framework.sock",
                    "invokePath": "/invoke",
                    "healthPath": "/healthz",
                },
            }
        },
    ),
    (
        {"storageMounts": [{"name": "B", "mountPath": "/b/./c"}, {"name": "a", "mountPath": "//d/"}]},
        {"storageMounts": [{"name": "a", "mountPath": "/d"}, {"name": "b", "mountPath": "/b/c"}]},
    ),
]


@pytest.mark.parametrize(("changes", "expected"), NORMALISED)
def test_a_create_request_is_normalised(changes: Object, expected: Object) -> None:
    assert created(**changes) == {"specName": "s1", "image": "tts:1", **expected}


OLD: Object = {
    "specName": "s1",
    "image": "tts:1",
    "gpu": 1,
    "template": {"ports": [{"name": "api", "port": 9000, "protocol": "TCP"}]},
    "access": {"primaryPort": "api", "scheme": "https"},
    "ssh": {"enabled": True},
    "serverless": {"enabled": True, "requestID": "tts"},
    "storageMounts": [{"name": "a", "mountPath": "/d"}],
}
WEB = {"ports": [{"name": "web", "port": 80, "protocol": "TCP"}]}

# Each row: the body of a PUT, and what it changes in OLD; None removes the field.
UPDATES: list[tuple[Object | None, Object]] = [
    (None, {}),
    ({}, {}),
    ({"image": " ", "template": {"ports": []}, "access": {"scheme": " "}}, {}),
    ({"image": None, "ssh": None, "serverless": None, "storageMounts": None}, {}),
    ({"specName": "s2", "gpu": 4}, {}),
    ({"image": "tts:2"}, {"image": "tts:2"}),
    ({"template": WEB}, {"template": WEB, "access": {"primaryPort": "web", "scheme": "http"}}),
    (
        {"template": WEB, "access": {"scheme": "WSS"}},
        {"template": WEB, "access": {"primaryPort": "web", "scheme": "wss"}},
    ),
    (
        ports({"name": "api", "port": 1}),
        {"template": {"ports": [{"name": "api", "port": 1, "protocol": "TCP"}]}},
    ),
    ({"template": {"args": ["x"]}}, {"template": {"args": ["x"]}, "access": None}),
    ({"access": {"primaryPort": "api"}}, {"access": {"primaryPort": "api", "scheme": "http"}}),
    ({"ssh": {}}, {"ssh": None}),
    ({"ssh": {"enabled": False}}, {"ssh": None}),
    ({"serverless": {}}, {"serverless": None}),
    ({"serverless": {"enabled": False}}, {"serverless": None}),
    ({"serverless": {"requestID": "STT"}}, {"serverless": created(serverless={"requestID": "stt"})["serverless"]}),
    (
        {"serverless": {"requestID": "tts", "templateOnly": True, "maxAvailableCount": 2}},
        {
            "serverless": created(serverless={"requestID": "tts", "templateOnly": True, "maxAvailableCount": 2})[
                "serverless"
            ]
        },
    ),
    ({"serverless": {"templateOnly": True}}, {"serverless": None}),
    ({"storageMounts": []}, {"storageMounts": None}),
    ({"storageMounts": [{"name": "b", "mountPath": "/e"}]}, {"storageMounts": [{"name": "b", "mountPath": "/e"}]}),
]


@pytest.mark.parametrize(("body", "changes"), UPDATES)
def test_a_change_request_keeps_replaces_or_clears(body: Object | None, changes: Object) -> None:
    update = parse_update(b"" if body is None else msgspec.json.encode(body))
    expected = {name: value for name, value in {**OLD, **changes}.items() if value is not None}
    assert updated_spec(OLD, update) == expected


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"access": {"primaryPort": "web"}}, "access.primaryPort"),
        ({"template": WEB, "access": {"primaryPort": "api"}}, "access.primaryPort"),
        ({"template": {"args": ["x"]}, "access": {"scheme": "http"}}, "access"),
    ],
)
def test_a_changed_access_must_fit_the_ports_that_the_unit_will_have(body: Object, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        updated_spec(OLD, parse_update(msgspec.json.encode(body)))
    assert caught.value.field == field


def spaced(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(values, st.sampled_from(["", " ", "\t"])).map(lambda pair: pair[1] + pair[0] + pair[1])


words = st.text("abcXYZ019-_", min_size=1, max_size=10)
unit_names = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,48}[a-zA-Z0-9])?", fullmatch=True)
port_names = st.from_regex(r"[a-z][a-z0-9]{0,14}", fullmatch=True)
port_lists = st.lists(
    st.fixed_dictionaries({"name": port_names, "port": st.integers(1, 65535)}, optional={"protocol": st.just("UDP")}),
    max_size=4,
    unique_by=(lambda port: port["name"], lambda port: port["port"]),
)
env_lists = st.lists(
    st.fixed_dictionaries({"name": st.from_regex(r"[A-Za-z_][\w.-]{0,9}", fullmatch=True).filter(str.isascii)}),
    max_size=3,
    unique_by=lambda env: env["name"],
)
templates = st.fixed_dictionaries(
    {}, optional={"command": st.lists(st.text(max_size=5), max_size=3), "envs": env_lists, "ports": port_lists}
)
counts = st.integers(0, 2**31 - 1)
serverless_blocks = st.fixed_dictionaries(
    {"requestID": spaced(words)},
    optional={
        "enabled": st.booleans(),
        "minAvailableCount": counts,
        "idleTimeoutSeconds": counts,
        "framework": st.fixed_dictionaries({}, optional={"invokePath": st.sampled_from(["run", "//run/", "/"])}),
    },
)
create_bodies = st.fixed_dictionaries(
    {"operationID": spaced(words), "name": spaced(unit_names), "specName": spaced(words), "image": spaced(words)},
    optional={
        "packageID": spaced(words),
        "cpu": st.sampled_from(["1", " 500m "]),
        "gpu": counts,
        "template": templates,
        "serverless": st.none() | serverless_blocks,
        "storageMounts": st.lists(
            st.fixed_dictionaries({"name": port_names, "mountPath": port_names.map("/{}/".format)}),
            max_size=3,
            unique_by=(lambda mount: mount["name"], lambda mount: mount["mountPath"]),
        ),
    },
)


@given(create_bodies)
def test_normalising_twice_gives_the_same_request_and_hash(body: dict[str, Any]) -> None:
    once = parse_create(msgspec.json.encode(body))
    again = parse_create(msgspec.json.encode({"operationID": once.operation_id, "name": once.name, **once.spec}))
    assert again == once
    assert again.request_hash == once.request_hash


def test_the_hash_ignores_wording_and_order_but_not_content() -> None:
    request = parse_create(msgspec.json.encode({**VALID, "gpu": 1, "memory": "8Gi"}))
    reworded = parse_create(msgspec.json.encode({"memory": " 8Gi", "gpu": 1, **VALID, "name": " TTS", "cpu": None}))
    assert reworded.request_hash == request.request_hash
    others: list[Object] = [{"gpu": 2}, {"memory": "8192Mi"}, {"name": "stt"}, {"operationID": "op-2"}]
    hashes = {parse_create(msgspec.json.encode({**VALID, "gpu": 1, "memory": "8Gi", **o})).request_hash for o in others}
    assert len(hashes | {request.request_hash}) == len(others) + 1
