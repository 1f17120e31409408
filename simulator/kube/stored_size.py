"""How large an object may be: what etcd, in which the real API keeps its objects, takes in one write.

The size is that of the write as the real server sends it, of a custom resource to the byte; built-in kinds are stored
in another form there, and have their size in JSON here.
"""

from typing import Final

import msgspec

from simulator.kube.kinds import Kind, Object
from simulator.kube.status import ApiFailure

MOST_SENT_BYTES: Final = 2 * 1024 * 1024
"""What the real server can send."""
MOST_TAKEN_BYTES: Final = 3 * 512 * 1024
"""What etcd then takes."""
_ENVELOPE_BYTES: Final = 18
"""That etcd adds."""
_VARINT_BITS: Final = 7


def storable(kind: Kind, obj: Object, old: Object | None = None) -> Object:
    """The object as it can be stored in the place of `old`, without its `managedFields` if it is too large with them.

    Raises:
        ApiFailure: 500, as the real API has it; it is too large all the same.
    """
    if _problem(_write_size(kind, obj, old)):
        obj = {**obj, "metadata": {name: value for name, value in obj["metadata"].items() if name != "managedFields"}}
        if problem := _problem(_write_size(kind, obj, old)):
            raise ApiFailure(500, problem)
    return obj


def _problem(size: int) -> str:
    if size > MOST_SENT_BYTES:
        what = "rpc error: code = ResourceExhausted desc = trying to send message larger than max"
        return f"{what} ({size} vs. {MOST_SENT_BYTES})"
    return "etcdserver: request is too large" if size + _ENVELOPE_BYTES > MOST_TAKEN_BYTES else ""


def _write_size(kind: Kind, obj: Object, old: Object | None) -> int:
    """The length of etcd's transaction "if the key is at this revision, put the value, else get it"."""
    metadata = obj["metadata"]
    group = kind.group if kind.custom else ""
    key = "/".join(filter(None, ["/registry", group, kind.plural, metadata.get("namespace"), metadata["name"]]))
    held = {**obj, "metadata": {name: value for name, value in metadata.items() if name != "resourceVersion"}}
    put = _field(len(key.encode())) + _field(len(msgspec.json.encode(held)) + 1)
    revision = int(old["metadata"]["resourceVersion"]) if old else 0
    condition = 2 + _field(len(key.encode())) + 1 + _varint(revision)
    size = _field(_field(put)) + _field(condition)
    return size + _field(_field(_field(len(key.encode())))) if old else size


def _field(length: int) -> int:
    """The length of a field of Protocol Buffers that holds so many bytes."""
    return 1 + _varint(length) + length


def _varint(number: int) -> int:
    return max(1, -(-number.bit_length() // _VARINT_BITS))
