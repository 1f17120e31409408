"""Messages in Protocol Buffers, read as the JSON that the same client would have sent, by table and by chance."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.kube.kinds import CONFIG_MAP, POD
from simulator.kube.schema.builtin import builtin_schema, definitions
from simulator.kube.schema.decode import decode
from simulator.kube.schema.protobuf import MAX_FIELDS, MEDIA_TYPE, has_message, opened, read_message
from simulator.kube.schema.protobuf_messages import DATA, Field, definition_path, message
from simulator.kube.schema.protobuf_wire import ProtobufError
from simulator.kube.status import ApiFailure
from tests.kube.protobuf_bytes import envelope, number, part, varint

CORE = "io.k8s.api.core.v1"
META = "io.k8s.apimachinery.pkg.apis.meta.v1"
CRD = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"
A_POD = part(1, part(1, "a")) + part(2, part(2, part(1, "c") + part(2, "image")))


def read(definition: str, data: bytes) -> Any:
    return read_message(definition, memoryview(data))


@pytest.mark.parametrize(
    ("definition", "data", "expected"),
    [
        (f"{CORE}.ConfigMap", b"", {"metadata": {}}),
        (f"{CORE}.ConfigMap", part(1, part(1, "é" * 300)), {"metadata": {"name": "é" * 300}}),
        (f"{CORE}.ConfigMap", part(2, part(1, "k") + part(2, "v")), {"metadata": {}, "data": {"k": "v"}}),
        (
            f"{CORE}.ConfigMap",
            part(2, part(2, "v")) + part(2, part(1, "k")),
            {"metadata": {}, "data": {"": "v", "k": ""}},
        ),
        (
            f"{CORE}.ConfigMap",
            part(3, part(1, "k") + part(2, b"\xff\x00")),
            {"metadata": {}, "binaryData": {"k": "/wA="}},
        ),
        (f"{CORE}.ConfigMap", number(4, 0), {"metadata": {}, "immutable": False}),
        # A message in two pieces is both of them; of a text the last one counts.
        (
            f"{CORE}.ConfigMap",
            part(1, part(1, "a")) + part(1, part(3, "b")),
            {"metadata": {"name": "a", "namespace": "b"}},
        ),
        (f"{META}.ObjectMeta", part(1, "a") + part(1, "b"), {"name": "b"}),
        (f"{META}.ObjectMeta", part(8, b""), {}),
        (f"{META}.ObjectMeta", part(8, number(1, 0)), {"creationTimestamp": "1970-01-01T00:00:00Z"}),
        (f"{META}.ObjectMeta", part(8, number(1, -62135596800)), {}),
        (f"{META}.ObjectMeta", part(8, number(1, -62135596799)), {"creationTimestamp": "0001-01-01T00:00:01Z"}),
        (f"{META}.ObjectMeta", number(7, 0), {}),
        (f"{META}.ObjectMeta", number(7, 2**63), {"generation": -(2**63)}),
        (f"{META}.ObjectMeta", number(10, 0), {"deletionGracePeriodSeconds": 0}),
        (f"{META}.ObjectMeta", part(14, "a") + part(14, ""), {"finalizers": ["a", ""]}),
        (f"{META}.ManagedFieldsEntry", part(7, part(1, b'{"f:a":{}}')), {"fieldsV1": {"f:a": {}}}),
        (f"{META}.LabelSelector", part(2, part(1, "k")), {"matchExpressions": [{"key": "k", "operator": ""}]}),
        (f"{CORE}.Secret", part(2, part(1, "k")), {"metadata": {}, "data": {"k": ""}}),
        # What is not there, but is no pointer and not left out when it is empty, is zero.
        (f"{CORE}.ContainerPort", number(3, 80), {"containerPort": 80}),
        (f"{CORE}.ContainerPort", number(3, 2**32 - 1), {"containerPort": -1}),
        (f"{CORE}.PodSpec", b"", {"containers": None}),
        (f"{CORE}.PodSecurityContext", number(4, 1) + number(4, -2), {"supplementalGroups": [1, -2]}),
        (f"{CORE}.PodSecurityContext", part(4, varint(1) + varint(300)), {"supplementalGroups": [1, 300]}),
        # The fields of an embedded struct are those of the struct that embeds it.
        (f"{CORE}.Volume", part(1, "v") + part(2, part(2, b"")), {"name": "v", "emptyDir": {}}),
        (f"{CORE}.EmptyDirVolumeSource", part(2, part(1, "1Gi")), {"sizeLimit": "1Gi"}),
        (f"{CORE}.ResourceFieldSelector", part(2, "limits.cpu"), {"resource": "limits.cpu", "divisor": "0"}),
        (f"{CORE}.ResourceRequirements", part(1, part(1, "cpu") + part(2, part(1, "1"))), {"limits": {"cpu": "1"}}),
        (f"{CORE}.TCPSocketAction", part(1, number(1, 0) + number(2, 80) + part(3, "")), {"port": 80}),
        (f"{CORE}.TCPSocketAction", part(1, number(1, 1) + number(2, 0) + part(3, "http")), {"port": "http"}),
        (
            "io.k8s.api.coordination.v1.LeaseSpec",
            number(2, 0) + part(3, number(1, -1) + number(2, 999_999_999)),
            {"leaseDurationSeconds": 0, "acquireTime": "1969-12-31T23:59:59.999999Z"},
        ),
        ("io.k8s.api.coordination.v1.LeaseSpec", part(3, b""), {}),
        (
            "io.k8s.api.authorization.v1.SubjectAccessReviewSpec",
            part(5, part(1, "k") + part(2, part(1, "a") + part(1, "b"))),
            {"extra": {"k": ["a", "b"]}},
        ),
        (f"{CRD}.JSONSchemaProps", varint(9 << 3 | 1) + struct.pack("<d", 2.5), {"maximum": 2.5}),
        (f"{CRD}.JSONSchemaProps", varint(9 << 3 | 1) + struct.pack("<d", 3), {"maximum": 3}),
        (f"{CRD}.JSONSchemaProps", part(8, part(1, b'{"a": [1.0, null]}')), {"default": {"a": [1, None]}}),
        (f"{CRD}.JSONSchemaProps", part(20, part(1, b"null")) + part(20, part(1, b'"x"')), {"enum": [None, "x"]}),
        (f"{CRD}.JSONSchemaProps", part(24, part(1, part(5, "string"))), {"items": {"type": "string"}}),
        (f"{CRD}.JSONSchemaProps", part(24, part(2, b"") + part(2, b"")), {"items": [{}, {}]}),
        (f"{CRD}.JSONSchemaProps", part(30, number(1, 1)), {"additionalProperties": True}),
        (f"{CRD}.JSONSchemaProps", part(30, number(1, 0)), {"additionalProperties": False}),
        (f"{CRD}.JSONSchemaProps", part(30, number(1, 1) + part(2, b"")), {"additionalProperties": {}}),
        (f"{CRD}.JSONSchemaProps", part(32, part(1, "a") + part(2, part(2, "b"))), {"dependencies": {"a": ["b"]}}),
        (f"{CRD}.JSONSchemaProps", part(32, part(1, "a") + part(2, part(1, b""))), {"dependencies": {"a": {}}}),
    ],
)
def test_messages(definition: str, data: bytes, expected: object) -> None:
    assert read(definition, data) == expected


@pytest.mark.parametrize(
    "unknown",
    [
        part(99, "x"),
        number(99, 2**64 - 1),
        varint(99 << 3 | 1) + bytes(8),
        varint(99 << 3 | 5) + bytes(4),
        varint(99 << 3 | 3)
        + number(1, 1)
        + varint(98 << 3 | 3)
        + part(1, "x")
        + varint(98 << 3 | 4)
        + varint(99 << 3 | 4),
    ],
)
def test_fields_that_the_server_does_not_know_are_skipped(unknown: bytes) -> None:
    assert read(f"{CORE}.ConfigMap", unknown + part(1, part(1, "a"))) == {"metadata": {"name": "a"}}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (part(1, "abc")[:-1], "unexpected EOF"),
        (b"\x80", "unexpected EOF"),
        (b"\x80" * 11, "proto: integer overflow"),
        (b"\x0a" + varint(2**63), "proto: negative length found during unmarshaling"),
        (varint(99 << 3 | 1) + bytes(7), "unexpected EOF"),
        (varint(99 << 3 | 3), "unexpected EOF"),
        (varint(99 << 3 | 6), "proto: illegal wireType 6"),
        (varint(1 << 3 | 4), "proto: ConfigMap: wiretype end group for non-group"),
        (b"\x02\x00", "proto: ConfigMap: illegal tag 0 (wire type 2)"),
        (number(1, 5), "proto: wrong wireType = 0 for field ObjectMeta"),
        (number(2, 5), "proto: wrong wireType = 0 for field Data"),
        (part(4, "x"), "proto: wrong wireType = 2 for field Immutable"),
        (part(1, number(1, 5)), "proto: wrong wireType = 0 for field Name"),
        (part(1, part(8, number(1, 2**62))), "a time is not of the years 1 to 9999"),
        (part(1, part(17, part(7, part(1, "{")))), "unexpected end of JSON input"),
    ],
)
def test_broken_messages(data: bytes, problem: str) -> None:
    with pytest.raises(ProtobufError) as raised:
        read(f"{CORE}.ConfigMap", data)
    assert str(raised.value) == problem


@pytest.mark.parametrize(
    ("definition", "data", "problem"),
    [
        (f"{CORE}.TCPSocketAction", part(1, number(1, 2)), "impossible IntOrString.Type"),
        (
            f"{CRD}.JSONSchemaProps",
            varint(9 << 3 | 1) + struct.pack("<d", float("nan")),
            "json: unsupported value: nan",
        ),
        (f"{CRD}.JSONSchemaProps", varint(9 << 3 | 1) + bytes(7), "unexpected EOF"),
    ],
)
def test_values_without_json(definition: str, data: bytes, problem: str) -> None:
    with pytest.raises(ProtobufError, match=problem):
        read(definition, data)


def properties_within(schema: bytes) -> bytes:
    return part(29, part(1, "a") + part(2, schema))


def items_within(schema: bytes) -> bytes:
    return part(24, part(1, schema))


@pytest.mark.parametrize("within", [properties_within, items_within])
def test_the_depth_is_bounded(within: Callable[[bytes], bytes]) -> None:
    nested = b""
    for _ in range(40):
        nested = within(nested)
    assert read(f"{CRD}.JSONSchemaProps", nested)
    for _ in range(1000):
        nested = within(nested)
    with pytest.raises(ProtobufError, match="nested too deeply"):
        read(f"{CRD}.JSONSchemaProps", nested)


def test_the_number_of_fields_is_bounded() -> None:
    assert len(read(f"{CORE}.PodSpec", part(2, b"") * 1000)["containers"]) == 1000
    with pytest.raises(ProtobufError, match="too many fields"):
        read(f"{CORE}.PodSpec", part(2, b"") * (MAX_FIELDS + 1))
    with pytest.raises(ProtobufError, match="too many fields"):
        read(f"{CORE}.PodSpec", number(99, 1) * (MAX_FIELDS + 1))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "empty data"),
        (b"{}", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"),
        (b"k8s\x00", "empty body"),
        (b"k8s\x00\x0a\x05", "unexpected EOF"),
    ],
)
def test_bodies_without_envelope(body: bytes, problem: str) -> None:
    with pytest.raises(ProtobufError) as raised:
        opened(body)
    assert str(raised.value) == problem


def test_an_envelope() -> None:
    envelope_of = opened(envelope("apps/v1", "Deployment", b"raw"))
    assert (envelope_of.api_version, envelope_of.kind, bytes(envelope_of.raw)) == ("apps/v1", "Deployment", b"raw")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b"k8s\x00\x0a\x05",
            "the object provided is unrecognized (must be of type ConfigMap): unexpected EOF (6b3873000a05)",
        ),
        (
            envelope("v1", "ConfigMap", number(1, 5)),
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: '
            "proto: wrong wireType = 0 for field ObjectMeta",
        ),
        (
            envelope("v1", "Pod", b""),
            'Pod in version "v1" cannot be handled as a ConfigMap: '
            "converting (v1.Pod) to (core.ConfigMap): unknown conversion",
        ),
        (
            envelope("v1", "PersistentVolume", b""),
            'PersistentVolume in version "v1" cannot be handled as a ConfigMap: '
            "converting (v1.PersistentVolume) to (core.ConfigMap): unknown conversion",
        ),
        (
            envelope("v9", "ConfigMap", b""),
            'ConfigMap in version "v9" cannot be handled as a ConfigMap: '
            'no kind "ConfigMap" is registered for version "v9" in scheme "pkg/runtime/scheme.go:111"',
        ),
    ],
)
def test_what_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(ApiFailure) as raised:
        decode(CONFIG_MAP, builtin_schema(CONFIG_MAP), body, MEDIA_TYPE, "Strict")
    assert (raised.value.code, raised.value.body["message"]) == (400, message)


@pytest.mark.parametrize("api_version", ["v1", "", "a/b/c"])
def test_the_path_says_what_the_envelope_does_not(api_version: str) -> None:
    body = envelope(api_version, "", part(1, part(1, "a")))
    obj, warnings = decode(CONFIG_MAP, builtin_schema(CONFIG_MAP), body, MEDIA_TYPE, "Strict")
    assert (obj, warnings) == ({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}}, [])


@given(st.binary() | st.binary().map(lambda raw: envelope("v1", "Pod", raw)))
def test_bytes_by_chance_are_read_or_refused(body: bytes) -> None:
    _read_or_refused(body)


@given(st.integers(0, len(A_POD) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_damaged_bodies_are_read_or_refused(place: int, put: bytes, cut: int) -> None:
    _read_or_refused(envelope("v1", "Pod", A_POD[:place] + put + A_POD[place + cut :]))


def _read_or_refused(body: bytes) -> None:
    try:
        obj, _ = decode(POD, builtin_schema(POD), body, MEDIA_TYPE, "Strict")
    except ApiFailure as failure:
        answered = (failure.code, "Status", "v1")
    else:
        answered = (200, obj["kind"], obj["apiVersion"])
    assert answered in ((200, "Pod", "v1"), (400, "Status", "v1"))


def test_the_fields_of_the_data_are_those_of_the_schemas() -> None:
    checked = 0
    for definition in definitions().raw:
        if not has_message(definition) or not (known := definitions().raw[definition].get("properties")):
            continue
        checked += 1
        assert set(_names(definition_path(definition))) == set(known) - {"apiVersion", "kind"} | _own_type(definition)
    assert checked > 200


def _names(path: str) -> list[str]:
    fields: list[Field] = message(path).fields
    return [name for field in fields for name in ([field.name] if field.name else _names(field.type))]


def _own_type(definition: str) -> set[str]:
    """The fields of an object that refers to another are its own; those of a body are in the envelope."""
    fields = {field.name for field in message(definition_path(definition)).fields}
    return fields & {"apiVersion", "kind"}


def test_the_data_has_a_message_for_each_line() -> None:
    assert all(message(line.split('"')[1]).fields is not None for line in DATA.read_text().splitlines()[1:-1])
