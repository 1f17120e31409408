"""Who manages the fields of an object after writes other than an apply."""

from typing import Any

import pytest

from simulator.kube.apply.managed import MAX_UPDATE_MANAGERS
from simulator.kube.apply.scale import SPEC_REPLICAS, record_scale, replicas_path
from simulator.kube.apply.updating import differs_in_times_only
from simulator.kube.kinds import Object
from tests.kube.apply_world import apply, deployment, managers, unit, update

CONTAINER = {"name": "c", "image": "i", "resources": {}, "ports": [{"containerPort": 80, "protocol": "TCP"}]}


def test_a_create_of_a_custom_resource_gives_all_fields_to_its_maker() -> None:
    created = update(None, unit({"specName": "s", "template": {"ports": [{"name": "a", "port": 1}]}}), "maker")
    assert managers(created) == {
        "maker": {
            "f:spec": {
                ".": {},
                "f:specName": {},
                "f:template": {
                    ".": {},
                    "f:ports": {".": {}, 'k:{"name":"a"}': {".": {}, "f:name": {}, "f:port": {}}},
                },
            }
        }
    }


def test_the_structs_of_a_built_in_kind_are_there_before_they_are_set() -> None:
    created = update(None, deployment(CONTAINER, strategy={"type": "Recreate"}), "maker")
    assert managers(created) == {
        "maker": {
            "f:spec": {
                "f:selector": {},
                "f:strategy": {"f:type": {}},
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {
                        "f:containers": {
                            'k:{"name":"c"}': {
                                ".": {},
                                "f:image": {},
                                "f:name": {},
                                "f:ports": {
                                    ".": {},
                                    'k:{"containerPort":80,"protocol":"TCP"}': {
                                        ".": {},
                                        "f:containerPort": {},
                                        "f:protocol": {},
                                    },
                                },
                                "f:resources": {},
                            }
                        }
                    },
                },
            }
        }
    }


def test_who_changes_a_field_takes_it_from_others() -> None:
    created = update(None, unit({"specName": "s", "gpu": 1}), "maker")
    changed = update(created, {**created, "spec": {"specName": "s", "gpu": 2, "image": "i"}}, "changer")
    assert managers(changed) == {
        "maker": {"f:spec": {".": {}, "f:specName": {}}},
        "changer": {"f:spec": {"f:gpu": {}, "f:image": {}}},
    }
    back = update(changed, {**changed, "spec": {"specName": "s", "gpu": 1}}, "maker")
    assert managers(back) == {"maker": {"f:spec": {".": {}, "f:gpu": {}, "f:specName": {}}}}


def test_a_write_that_changes_nothing_leaves_the_entries_as_they_are() -> None:
    created = update(None, unit({"specName": "s"}), "maker")
    again = update(created, {**created, "status": {"phase": "Ready"}}, "other")
    assert again["metadata"]["managedFields"] == created["metadata"]["managedFields"]


def test_a_write_to_the_status_manages_nothing_else() -> None:
    created = update(None, unit({"specName": "s"}), "maker")
    sent = {**created, "spec": {"specName": "other"}, "status": {"phase": "Ready"}}
    entries = update(created, sent, "op", sub="status")["metadata"]["managedFields"]
    assert [(entry["manager"], entry.get("subresource"), entry["fieldsV1"]) for entry in entries] == [
        ("maker", None, {"f:spec": {".": {}, "f:specName": {}}}),
        ("op", "status", {"f:status": {".": {}, "f:phase": {}}}),
    ]


@pytest.mark.parametrize("sent", [[], [{}]])
def test_a_client_can_forget_the_managers(sent: list[Object]) -> None:
    created = update(None, unit({"specName": "s"}), "maker")
    forgotten = update(created, unit({"specName": "s"}, managedFields=sent), "maker")
    assert managers(forgotten) == {}
    assert managers(update(forgotten, {**forgotten, "spec": {"specName": "t"}}, "maker")) == {}


def entry(**changes: Any) -> Object:
    sound = {
        "manager": "x",
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:a": {}},
    }
    return {**sound, **changes}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ([entry()], "x"),
        ([entry(operation="Steal")], "maker"),
        ([entry(apiVersion="")], "maker"),
        ([entry(fieldsType="FieldsV2")], "maker"),
        ([entry(fieldsV1={"f": {}})], "maker"),
        ("text", "maker"),
    ],
)
def test_entries_that_a_client_sends_replace_the_present_ones_if_they_are_sound(sent: Any, kept: str) -> None:
    created = update(None, unit({"specName": "s"}), "maker")
    changed = update(created, unit({"specName": "s"}, managedFields=sent), "maker")
    assert list(managers(changed)) == [kept]


def test_the_oldest_updaters_are_joined() -> None:
    obj = update(None, unit({"specName": "s"}), "m00")
    for number in range(1, 14):
        labels = {**obj["metadata"].get("labels", {}), f"l{number}": "x"}
        obj = update(obj, {**obj, "metadata": {**obj["metadata"], "labels": labels}}, f"m{number:02}")
    assert len(managers(obj)) == MAX_UPDATE_MANAGERS
    assert managers(obj)["ancient-changes"] == {
        "f:metadata": {"f:labels": {".": {}, "f:l1": {}, "f:l2": {}, "f:l3": {}, "f:l4": {}}},
        "f:spec": {".": {}, "f:specName": {}},
    }


def test_a_later_time_alone_is_no_change() -> None:
    created = update(None, unit({"specName": "s"}), "maker")
    (held,) = created["metadata"]["managedFields"]
    later = {
        **created,
        "metadata": {**created["metadata"], "managedFields": [{**held, "time": "2031-01-01T00:00:00Z"}]},
    }
    other = {**created, "metadata": {**created["metadata"], "managedFields": [{**held, "manager": "other"}]}}
    assert differs_in_times_only(created, later)
    assert not differs_in_times_only(created, other)
    assert not differs_in_times_only(created, {**later, "spec": {}})


def replica_owners(before: int, after: int) -> set[str]:
    entries = apply(None, deployment(replicas=1), "one")["metadata"]["managedFields"]
    found = record_scale(entries, SPEC_REPLICAS, api_version="apps/v1", manager="s", before=before, after=after)
    return {entry["manager"] for entry in found if "f:replicas" in entry["fieldsV1"]["f:spec"]}


@pytest.mark.parametrize(
    ("before", "after", "owner"), [(1, 1, {"one"}), (1, 3, {"s"}), (1, 0, set[str]()), (0, 1, {"s"})]
)
def test_who_scales_has_the_number_of_replicas(before: int, after: int, owner: set[str]) -> None:
    assert replica_owners(before, after) == owner


def test_nobody_gets_a_number_of_replicas_that_nobody_had() -> None:
    entries = apply(None, deployment(), "one")["metadata"]["managedFields"]
    assert record_scale(entries, SPEC_REPLICAS, api_version="apps/v1", manager="s", before=1, after=2) == entries
    assert replicas_path(".spec.replicas") == SPEC_REPLICAS
