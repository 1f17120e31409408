"""Strategic merge patches: lists by their merge keys, and the directives."""

from typing import Any

import pytest

from simulator.kube.kinds import DEPLOYMENT, Object
from simulator.kube.patching.patch_errors import BadPatchFormat, ListOfListsError, StrategicPatchError
from simulator.kube.patching.strategic import strategic_merge
from simulator.kube.schema.builtin import builtin_schema

POD_SPEC = builtin_schema(DEPLOYMENT).properties["spec"].properties["template"].properties["spec"]
OBJECT_META = builtin_schema(DEPLOYMENT).properties["metadata"]
SPEC = builtin_schema(DEPLOYMENT).properties["spec"]

ORIGINAL: Object = {
    "containers": [
        {"name": "a", "image": "i", "args": ["x"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"name": "b", "image": "i", "ports": [{"containerPort": 1}, {"containerPort": 2}]},
    ],
    "volumes": [{"name": "v", "emptyDir": {}}],
    "nodeSelector": {"x": "1"},
}
ONE, TWO = ORIGINAL["containers"]


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ({"containers": [{"name": "b", "image": "j"}]}, {"containers": [ONE, {**TWO, "image": "j"}]}),
        ({"containers": [{"name": "c", "image": "j"}]}, {"containers": [{"name": "c", "image": "j"}, ONE, TWO]}),
        ({"containers": [{"name": "a", "$patch": "delete"}]}, {"containers": [TWO]}),
        ({"containers": [{"$patch": "replace"}, {"name": "c"}]}, {"containers": [{"name": "c"}]}),
        ({"containers": [{"name": "a", "args": ["z"]}]}, {"containers": [{**ONE, "args": ["z"]}, TWO]}),
        (
            {"containers": [{"name": "a", "args": None, "env": None}]},
            {"containers": [{"name": "a", "image": "i"}, TWO]},
        ),
        (
            {"containers": [{"name": "a", "env": [{"name": "A", "$patch": "delete"}, {"name": "C", "value": "3"}]}]},
            {"containers": [{**ONE, "env": [{"name": "C", "value": "3"}, {"name": "B", "value": "2"}]}, TWO]},
        ),
        (
            {"containers": [{"name": "b", "ports": [{"containerPort": 3}]}]},
            {"containers": [ONE, {**TWO, "ports": [{"containerPort": port} for port in (3, 1, 2)]}]},
        ),
        ({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}, {"containers": [TWO, ONE]}),
        (
            {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}], "containers": [{"name": "c"}]},
            {"containers": [ONE, TWO, {"name": "c"}]},
        ),
        ({"volumes": [{"name": "v", "emptyDir": None, "secret": {}}]}, {"volumes": [{"name": "v", "secret": {}}]}),
        (
            {"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {}}]},
            {"volumes": [{"name": "v", "secret": {}}]},
        ),
        ({"volumes": None, "absent": None}, {"volumes": ...}),
        ({"nodeSelector": {"$patch": "replace", "y": "2"}}, {"nodeSelector": {"y": "2"}}),
        ({"nodeSelector": {"$patch": "delete"}}, {"nodeSelector": {}}),
        ({"nodeSelector": {"x": None, "y": "2"}}, {"nodeSelector": {"y": "2"}}),
        ({"securityContext": {"runAsUser": 1, "runAsGroup": None}}, {"securityContext": {"runAsUser": 1}}),
        ({"securityContext": {"$patch": "delete"}}, {}),
        ({"tolerations": [{"key": "a", "$patch": "delete"}, {"key": "b"}]}, {"tolerations": [{"key": "b"}]}),
        ({"nodeSelector": "text"}, {"nodeSelector": "text"}),
    ],
)
def test_strategic_merge(patch: Object, changed: Object) -> None:
    expected = {name: value for name, value in {**ORIGINAL, **changed}.items() if value is not ...}
    assert strategic_merge(POD_SPEC, ORIGINAL, patch) == expected


@pytest.mark.parametrize(
    ("patch", "finalizers"),
    [
        ({"finalizers": ["c", "a"]}, ["c", "a", "b"]),
        ({"$deleteFromPrimitiveList/finalizers": ["a", "z"]}, ["b"]),
        ({"$setElementOrder/finalizers": ["b", "a"]}, ["b", "a"]),
    ],
)
def test_a_list_of_plain_values(patch: Object, finalizers: list[str]) -> None:
    assert strategic_merge(OBJECT_META, {"finalizers": ["a", "b"]}, patch) == {"finalizers": finalizers}


def test_retained_keys() -> None:
    original = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}
    patch = {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}
    assert strategic_merge(SPEC, original, patch) == {"strategy": {"type": "Recreate"}}


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"containers": [{"image": "j"}]}, "map: map[image:j] does not contain declared merge key: name"),
        ({"containers": [{"name": "a", "$patch": "x"}]}, "unknown patch type: x in map: map[$patch:x name:a]"),
        ({"containers": [{"$patch": "merge"}]}, "merging lists cannot yet be specified in the patch"),
        ({"$patch": "x"}, "unknown patch type: x in map: map[$patch:x]"),
        (
            {"$setElementOrder/absent": [], "absent": []},
            'unable to find api field in struct PodSpec for the json field "absent"',
        ),
        (
            {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]},
            "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
        ),
    ],
)
def test_a_patch_that_is_refused(patch: Object, message: str) -> None:
    with pytest.raises(StrategicPatchError) as caught:
        strategic_merge(POD_SPEC, ORIGINAL, patch)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "patch",
    [
        {"$retainKeys": ["containers"], "volumes": []},
        {"$retainKeys": 5},
        {"$setElementOrder": []},
        {"$deleteFromPrimitiveList": []},
    ],
)
def test_a_malformed_directive(patch: Any) -> None:
    with pytest.raises(BadPatchFormat):
        strategic_merge(POD_SPEC, ORIGINAL, patch)


def test_lists_of_lists_are_not_merged() -> None:
    with pytest.raises(ListOfListsError):
        strategic_merge(OBJECT_META, {"finalizers": [["a"]]}, {"finalizers": [["b"]]})
