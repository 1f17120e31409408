"""Writes Protocol Buffers field by field."""


def varint(value: int) -> bytes:
    head = b""
    while value > 0x7F:
        head, value = head + bytes([value & 0x7F | 0x80]), value >> 7
    return head + bytes([value])


def part(number: int, content: bytes | str) -> bytes:
    """A field with a text, or with a message."""
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def number(field: int, value: int) -> bytes:
    """A field with a number, which may be negative."""
    return varint(field << 3) + varint(value % 2**64)


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    """A whole body."""
    return b"k8s\x00" + part(1, part(1, api_version) + part(2, kind)) + part(2, raw) + part(3, "") + part(4, "")
