"""Secrets: what the store makes of them, and who is let in to read them."""

import pytest

from simulator.kube.kinds import GPUUNIT, SECRET, Object
from simulator.kube.status import ApiFailure
from simulator.kube.store import ResourceStore
from tests.kube.samples import NS, sample


def test_a_secrets_texts_are_stored_as_base64(store: ResourceStore) -> None:
    created = store.create(
        SECRET, {"metadata": {"name": "s"}, "data": {"a": "b2xk", "b": "Yg=="}, "stringData": {"a": "né"}}, NS
    )
    assert (created["data"], created["type"]) == ({"a": "bsOp", "b": "Yg=="}, "Opaque")
    assert not {"stringData", "status"} & created.keys()
    assert "generation" not in created["metadata"]
    updated = store.update(SECRET, {**created, "stringData": {"c": ""}}, NS)
    assert updated["data"] == {"a": "bsOp", "b": "Yg==", "c": ""}


def test_a_key_without_a_value_holds_nothing(store: ResourceStore) -> None:
    created = store.create(SECRET, {"metadata": {"name": "s"}, "data": {"a": None}}, NS)
    assert created["data"] == {"a": ""}


@pytest.mark.parametrize(
    ("content", "code", "problem"),
    [
        ({"stringData": {"a/b": "c"}}, 422, r"data\[a/b\]: Invalid value"),
        ({"stringData": {"..": "c"}}, 422, "must not be '..'"),
    ],
)
def test_a_wrong_secret_is_refused(store: ResourceStore, content: Object, code: int, problem: str) -> None:
    with pytest.raises(ApiFailure, match=problem) as caught:
        store.create(SECRET, {"metadata": {"name": "s"}, **content}, NS)
    assert caught.value.code == code
    assert store.list(SECRET) == []


def test_a_secrets_type_stays(store: ResourceStore) -> None:
    created = store.create(SECRET, {"metadata": {"name": "s"}, "type": "example.com/creds"}, NS)
    with pytest.raises(ApiFailure, match="field is immutable"):
        store.update(SECRET, {**created, "type": "Opaque"}, NS)


def test_a_secret_goes_with_its_owner(store: ResourceStore) -> None:
    unit = store.create(GPUUNIT, sample(GPUUNIT, "u1"), NS)
    owner = {"apiVersion": unit["apiVersion"], "kind": "GPUUnit", "name": "u1", "uid": unit["metadata"]["uid"]}
    store.create(SECRET, {"metadata": {"name": "s", "ownerReferences": [owner]}}, NS)
    store.delete(GPUUNIT, "u1", NS)
    assert store.list(SECRET) == []
