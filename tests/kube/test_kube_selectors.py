"""Which objects a selector takes. What a malformed one is answered with is among the recorded exchanges."""

import pytest

from simulator.kube.kinds import EVENT, GPUUNIT
from simulator.kube.selectors import parse_selector
from simulator.kube.status import ApiFailure

OBJECTS = {
    "u1": {"app": "a", "tier": "x"},
    "u2": {"app": "b"},
    "u3": {"app": "c", "example.com/tier": "y", "tier": "y"},
}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", "u1 u2 u3"),
        ("app=a", "u1"),
        (" app == a , tier ", "u1"),
        ("app!=a", "u2 u3"),
        ("app in (a, b)", "u1 u2"),
        ("app notin (a,b)", "u3"),
        ("tier", "u1 u3"),
        ("!tier", "u2"),
        ("tier,app!=c", "u1"),
        ("absent!=z", "u1 u2 u3"),
        ("tier notin (x)", "u2 u3"),
        ("example.com/tier=y", "u3"),
        ("app=", ""),
    ],
)
def test_label_selector(text: str, selected: str) -> None:
    selector = parse_selector(GPUUNIT, text, "")
    objects = [{"metadata": {"name": name, "labels": labels}} for name, labels in OBJECTS.items()]
    assert [obj["metadata"]["name"] for obj in objects if selector.matches(obj)] == selected.split()


@pytest.mark.parametrize("text", ["app in", "app in (a", "app in (a b)", "a b", "=a", "a=b c", "a,,b", "-a", "a=b)"])
def test_a_malformed_label_selector_is_a_bad_request(text: str) -> None:
    with pytest.raises(ApiFailure) as failure:
        parse_selector(GPUUNIT, text, "")
    assert failure.value.code == 400


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("involvedObject.name=u1", True),
        ("involvedObject.name==u1,involvedObject.kind=GPUUnit", True),
        ("involvedObject.kind!=GPUUnit", False),
        ("involvedObject.uid=", True),
        ("metadata.name=e1,metadata.namespace=ns", True),
        ("metadata.name=e2", False),
    ],
)
def test_field_selector(text: str, matches: bool) -> None:
    event = {
        "metadata": {"name": "e1", "namespace": "ns"},
        "involvedObject": {"kind": "GPUUnit", "name": "u1"},
    }
    assert parse_selector(EVENT, "", text).matches(event) is matches
