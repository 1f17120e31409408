"""How large an object may be for etcd: the figures are those that a real server answered with."""

from typing import Any

import pytest

from simulator.kube.kinds import GPUUNIT, Object
from simulator.kube.status import ApiFailure
from simulator.kube.stored_size import storable

UID = "11111111-2222-3333-4444-555555555555"
LARGEST = 1572435


def unit(spec: dict[str, Any], **metadata: Any) -> Object:
    known = {"name": "u1", "namespace": "scratch-errors-large", "uid": UID}
    made = {"creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1}
    metadata = {**known, **made, **metadata}
    return {"apiVersion": GPUUNIT.api_version, "kind": GPUUNIT.kind, "metadata": metadata, "spec": spec}


def test_the_largest_object_is_stored() -> None:
    obj = unit({"specName": "s1", "image": "x" * LARGEST})
    assert storable(GPUUNIT, obj) is obj


def test_an_object_that_is_too_large_only_with_its_managers_is_stored_without() -> None:
    obj = unit({"specName": "s1", "image": "x" * LARGEST}, managedFields=[{"manager": "m"}])
    assert "managedFields" not in storable(GPUUNIT, obj)["metadata"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"image": "x" * (LARGEST + 1)}, "etcdserver: request is too large"),
        ({"image": "x" * LARGEST, "ssh": {"a": "x" * 600_000}}, r"larger than max \(2172934 vs. 2097152\)"),
    ],
)
def test_a_larger_one_is_refused(spec: dict[str, Any], message: str) -> None:
    old = unit({}, resourceVersion="6000") if "ssh" in spec else None
    with pytest.raises(ApiFailure, match=message) as caught:
        storable(GPUUNIT, unit({"specName": "s1", **spec}), old)
    assert caught.value.code == 500
