"""The OpenAPI document that kubectl reads in Protocol Buffers only."""

import struct
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from simulator.kube.schema.openapi_protobuf import MEDIA_TYPE, in_protobuf
from simulator.kube.server import KubeServer
from tests.kube.sessions import session_with


def read(message: bytes) -> Iterator[tuple[int, bytes | int | float]]:
    """The fields of a message."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place, value, shift = place + 1, value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value

    while place < len(message):
        number, wire_type = divmod(varint(), 8)
        length = 8 if wire_type == 1 else varint()
        if wire_type == 0:
            yield number, length
            continue
        part, place = message[place : place + length], place + length
        yield number, part if wire_type == 2 else struct.unpack("<d", part)[0]


def only(message: bytes, number: int) -> bytes:
    [part] = [value for found, value in read(message) if found == number]
    assert isinstance(part, bytes)
    return part


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        ({"$ref": "#/definitions/a", "description": "b"}, [(1, b"#/definitions/a"), (4, b"b")]),
        ({"minimum": 1, "maxLength": 300}, [(9, 1.0), (11, 300)]),
        ({"default": {}, "enum": ["a"]}, [(5, b"\x12\x03{}\n"), (20, b'\x12\x04"a"\n')]),
        ({"required": ["a", "b"], "type": "object"}, [(19, b"a"), (19, b"b"), (22, b"\n\x06object")]),
        ({"additionalProperties": {"type": "string"}}, [(21, b"\n\x0b\xb2\x01\x08\n\x06string")]),
        ({"additionalProperties": True}, [(21, b"\x10\x01")]),
        ({"items": {"format": "x"}}, [(23, b"\n\x03\x12\x01x")]),
        ({"properties": {"a": {"format": "x"}}}, [(25, b"\n\x08\n\x01a\x12\x03\x12\x01x")]),
        ({"x-kubernetes-map-type": "atomic"}, [(31, b'\n\x15x-kubernetes-map-type\x12\x0b\x12\x09"atomic"\n')]),
    ],
)
def test_a_definition(schema: dict[str, object], fields: list[tuple[int, object]]) -> None:
    document = in_protobuf(
        {"swagger": "2.0", "info": {"title": "t", "version": "1"}, "definitions": {"d": schema}},
    )
    named = only(only(document, 9), 1)
    assert only(named, 1) == b"d"
    assert list(read(only(named, 2))) == fields


async def test_the_definitions_refer_to_each_other_plainly(server: KubeServer) -> None:
    headers = {"Accept": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}
    async with session_with(server) as session, session.get("openapi/v2", headers=headers) as response:
        body = await response.read()
        assert (response.status, response.headers["Content-Type"]) == (HTTPStatus.OK, MEDIA_TYPE)
    definitions = {only(named, 1): only(named, 2) for _, named in read(only(body, 9)) if isinstance(named, bytes)}
    pod = definitions[b"io.k8s.api.core.v1.Pod"]
    fields = {only(field, 1): only(field, 2) for _, field in read(only(pod, 25)) if isinstance(field, bytes)}
    assert only(fields[b"spec"], 1) == b"#/definitions/io.k8s.api.core.v1.PodSpec"
