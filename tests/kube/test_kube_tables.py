"""The tables that kubectl prints."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from simulator.kube.kinds import (
    ALL_KINDS,
    CLUSTER_ROLE,
    DEPLOYMENT,
    EVENT,
    GPUUNIT,
    NETWORK_POLICY,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    REPLICA_SET,
    ROLE_BINDING,
    SERVICE,
    Kind,
    Object,
)
from simulator.kube.listing import Page
from simulator.kube.negotiation import Form
from simulator.kube.registry import Column
from simulator.kube.status import ApiFailure
from simulator.kube.tables.ages import age, duration
from simulator.kube.tables.json_path import MalformedPathError, find_all
from simulator.kube.tables.presentation import Presentation
from simulator.kube.tables.table import cells, column_definitions, include_parameter, partial, table
from simulator.kube.timestamps import format_time

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OLD = format_time(NOW - timedelta(seconds=90))
GOLDEN = Path(__file__).parent / "golden" / "read.jsonl"
UNIT_COLUMNS = (
    Column("Spec", "string", ".spec.specName"),
    Column("Phase", "string", ".status.phase"),
    Column("Access", "string", ".status.accessURL"),
    Column("Age", "date", ".metadata.creationTimestamp"),
)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-2, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (599, "9m59s"),
        (600, "10m"), (10799, "179m"), (10800, "3h"), (10860, "3h1m"), (28799, "7h59m"), (28800, "8h"),
        (172799, "47h"), (172800, "2d"), (176400, "2d1h"), (691199, "7d23h"), (691200, "8d"), (63071999, "729d"),
        (63072000, "2y"), (63158400, "2y1d"), (252288000, "8y"), (300000000, "9y"),
    ],
)  # fmt: skip
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "<unknown>"), (None, "<unknown>"), ("soon", "<invalid>"), ("2026-01-02T03:04:00Z", "5s"),
        ("2026-01-02T05:04:00.5+02:00", "4s"), ("2026-99-02T03:04:00Z", "<invalid>"),
    ],
)  # fmt: skip
def test_ages(text: str | None, told: str) -> None:
    assert age(text, NOW) == told


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]), ("$.a.b", [1]), (".a.x.y", []), (".l[0]", ["p"]), (".l[-1]", ["q"]), (".l[7]", []),
        (".l[*]", ["p", "q"]), (".a.*", [1]), (".c[?(@.type==\"R\")].status", ["yes"]), (".c[?(@.n>1)].n", [2]),
        (".c[?(@.n)].type", ["S"]), (".c[?(@.type=='x')].status", []), (".m['k.8/s']", [3]), (".m.k\\.8/s", [3]),
        (".l.a", []), ("", [...]),
    ],
)  # fmt: skip
def test_json_paths(path: str, found: list[Any]) -> None:
    value = {
        "a": {"b": 1},
        "l": ["p", "q"],
        "c": [{"type": "R", "status": "yes"}, {"type": "S", "n": 2}],
        "m": {"k.8/s": 3},
    }
    assert find_all(path, value) == ([value] if found == [...] else found)


@pytest.mark.parametrize("path", ["a", ".a[", ".a[?(b==1)]", ".a b", "..a"])
def test_a_malformed_json_path(path: str) -> None:
    with pytest.raises(MalformedPathError, match="cannot understand"):
        find_all(path, {})


@pytest.mark.parametrize(
    ("kind", "value", "cell"),
    [
        ("integer", 7, 7), ("integer", 1.5, 1), ("integer", 1e30, -(2**63)), ("integer", "7", None),
        ("integer", True, None), ("number", 1.5, 1.5), ("number", "x", None), ("boolean", True, True),
        ("boolean", "true", None), ("string", "s", "s"), ("string", True, "true"), ("string", 7, "7"),
        ("string", 1.5, "1.5"), ("string", 1e6, "1e+06"), ("string", 1e-5, "1e-05"), ("string", None, None),
        ("string", {"b": "<", "a": [1]}, '{"a":[1],"b":"\\u003c"}'), ("date", OLD, "90s"), ("date", "x", "<invalid>"),
        ("date", "", "<unknown>"), ("date", 5, None),
    ],
)  # fmt: skip
def test_a_custom_column(kind: str, value: Any, cell: Any) -> None:
    made = cells(GPUUNIT, {"metadata": {"name": "u"}, "x": value}, NOW, [Column("X", kind, ".x")])[1]
    assert (made, type(made)) == (cell, type(cell))


def waiting(reason: str) -> Object:
    return {"waiting": {"reason": reason}}


def ended(code: int, reason: str = "", **more: Any) -> Object:
    return {"terminated": {"exitCode": code, **({"reason": reason} if reason else {}), **more}}


RUNNING: Object = {"running": {}}


def status(name: str, state: Object, *, ready: bool = False, restarts: int = 0, **more: Any) -> Object:
    return {"name": name, "state": state, "ready": ready, "restartCount": restarts, **more}


CRASHED: Object = {"lastState": {"terminated": {"exitCode": 1, "finishedAt": OLD}}}
TWO = {"containers": [{"name": "a"}, {"name": "b"}]}
INIT = {**TWO, "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]}


@pytest.mark.parametrize(
    ("spec", "pod_status", "told"),
    [
        (TWO, {"phase": "Pending"}, "0/2 Pending 0"),
        (TWO, {"phase": "Failed", "reason": "Evicted"}, "0/2 Evicted 0"),
        (TWO, {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
         "0/2 SchedulingGated 0"),
        (TWO, {"phase": "Running", "containerStatuses": [
            status("a", RUNNING, ready=True), status("b", waiting("ImagePullBackOff"))]}, "1/2 ImagePullBackOff 0"),
        (TWO, {"phase": "Running", "containerStatuses": [
            status("a", RUNNING, ready=True), status("b", waiting("CrashLoopBackOff"), restarts=3, **CRASHED)]},
         "1/2 CrashLoopBackOff 3 (90s ago)"),
        (TWO, {"phase": "Running", "containerStatuses": [status("a", ended(0, "Completed")),
                                                         status("b", RUNNING, ready=True)]}, "1/2 NotReady 0"),
        (TWO, {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [
            status("a", ended(0, "Completed")), status("b", RUNNING, ready=True)]}, "1/2 Running 0"),
        (TWO, {"phase": "Failed", "containerStatuses": [status("a", ended(0, "Completed")),
                                                        status("b", ended(3, "Error"))]}, "0/2 Error 0"),
        (TWO, {"phase": "Failed", "containerStatuses": [status("a", ended(3))]}, "0/2 ExitCode:3 0"),
        (TWO, {"phase": "Failed", "containerStatuses": [status("a", ended(137, signal=9))]}, "0/2 Signal:9 0"),
        (INIT, {"phase": "Pending", "initContainerStatuses": [status("i", RUNNING)]}, "0/3 Init:0/2 0"),
        (INIT, {"phase": "Pending", "initContainerStatuses": [status("i", ended(7, signal=9))]},
         "0/3 Init:Signal:9 0"),
        (INIT, {"phase": "Pending", "initContainerStatuses": [
            status("i", waiting("CrashLoopBackOff"), restarts=2, **CRASHED)]}, "0/3 Init:CrashLoopBackOff 2 (90s ago)"),
        (INIT, {"phase": "Pending",
                "initContainerStatuses": [status("i", ended(0), restarts=1),
                                          status("s", RUNNING, ready=True, started=True, restarts=3, **CRASHED)],
                "containerStatuses": [status("a", waiting("PodInitializing"), restarts=1), status("b", RUNNING)]},
         "1/3 PodInitializing 4 (90s ago)"),
    ],
)  # fmt: skip
def test_what_became_of_a_pod(spec: Object, pod_status: Object, told: str) -> None:
    pod = {"metadata": {"name": "p"}, "spec": spec, "status": pod_status}
    _, ready, reason, restarts, *_ = cells(POD, pod, NOW)
    assert f"{ready} {reason} {restarts}" == told
    pod["metadata"]["deletionTimestamp"] = OLD
    gone = "Evicted" if pod_status.get("reason") else reason if pod_status["phase"] == "Failed" else "Terminating"
    assert cells(POD, pod, NOW)[2] == gone


@pytest.mark.parametrize(
    ("kind", "obj", "row"),
    [
        (DEPLOYMENT, {"spec": {"replicas": 3, "selector": {"matchLabels": {"b": "1", "a": "2"}},
                               "template": {"spec": {"containers": [{"name": "x", "image": "i"}, {"name": "y"}]}}},
                      "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}},
         ["o", "1/3", 2, 1, "90s", "x,y", "i,", "a=2,b=1"]),
        (REPLICA_SET, {"spec": {"replicas": 2}, "status": {"replicas": 1}}, ["o", 2, 1, 0, "90s", "", "", "<none>"]),
        (SERVICE, {"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "selector": {"b": "1", "a": "2"},
                            "ports": [{"port": 80, "nodePort": 3, "protocol": "TCP"}, {"port": 1, "protocol": "UDP"}]}},
         ["o", "NodePort", "10.0.0.1", "<none>", "80:3/TCP,1/UDP", "90s", "a=2,b=1"]),
        (SERVICE, {"spec": {"type": "LoadBalancer", "clusterIP": "None"}},
         ["o", "LoadBalancer", "None", "<pending>", "<none>", "90s", "<none>"]),
        (SERVICE, {"spec": {"type": "ExternalName", "externalName": "x.y"}},
         ["o", "ExternalName", "<none>", "x.y", "<none>", "90s", "<none>"]),
        (EVENT, {"involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "f"}, "type": "Normal", "reason": "R",
                 "message": " m\n", "source": {"component": "k", "host": "h"}, "count": 4, "firstTimestamp": OLD,
                 "lastTimestamp": format_time(NOW)},
         ["0s", "Normal", "R", "pod/p", "f", "k, h", "m", "90s", 4, "o"]),
        (EVENT, {"eventTime": OLD, "reportingComponent": "s"},
         ["90s", "", "", "", "", "s", "", "90s", 1, "o"]),
        (NETWORK_POLICY, {"spec": {"podSelector": {"matchExpressions": [
            {"key": "b", "operator": "In", "values": ["y", "x"]}, {"key": "a", "operator": "DoesNotExist"}]}}},
         ["o", "!a,b in (x,y)", "90s"]),
        (NODE, {"spec": {"unschedulable": True}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
         ["o", "NotReady,SchedulingDisabled", "<none>", "90s", "", "<none>", "<none>"] + ["<unknown>"] * 3),
        (PERSISTENT_VOLUME_CLAIM, {"spec": {"volumeName": "v", "storageClassName": "c", "volumeMode": "Block"},
                                   "status": {"phase": "Bound", "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                                              "capacity": {"storage": "1Gi"}}},
         ["o", "Bound", "v", "1Gi", "RWO,RWX", "c", "<unset>", "90s", "Block"]),
        (ROLE_BINDING, {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
            {"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "namespace": "n", "name": "s"}]},
         ["o", "Role/r", "90s", "u", "", "n/s"]),
        (CLUSTER_ROLE, {}, ["o", OLD]),
    ],
)  # fmt: skip
def test_rows(kind: Kind, obj: Object, row: list[Any]) -> None:
    assert cells(kind, {"metadata": {"name": "o", "creationTimestamp": OLD}, **obj}, NOW) == row


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.kind)
def test_every_kind_has_a_cell_for_each_column_even_if_nothing_is_set(kind: Kind) -> None:
    columns = UNIT_COLUMNS if kind.custom else ()
    assert len(cells(kind, {"metadata": {}}, NOW, columns)) == len(column_definitions(kind, columns))


def recorded_tables() -> list[tuple[Kind, Object]]:
    kinds = {"gpuunits": GPUUNIT, "deployments": DEPLOYMENT, "pods": POD}
    found = []
    for line in GOLDEN.read_text().splitlines():
        exchange = json.loads(line)
        body = exchange["response"].get("body")
        if isinstance(body, dict) and isinstance(body.get("columnDefinitions"), list):
            plural = next(part for part in exchange["request"]["path"].split("?")[0].split("/") if part in kinds)
            found.append((kinds[plural], body))
    return found


def test_the_columns_are_those_of_a_real_server() -> None:
    tables = recorded_tables()
    assert {kind for kind, _ in tables} == {GPUUNIT, DEPLOYMENT, POD}
    for kind, body in tables:
        assert column_definitions(kind, UNIT_COLUMNS if kind.custom else ()) == body["columnDefinitions"]


UNIT: Object = {
    "apiVersion": GPUUNIT.api_version,
    "kind": "GPUUnit",
    "metadata": {"creationTimestamp": OLD, "name": "u", "resourceVersion": "7"},
    "spec": {"specName": "s"},
}


@pytest.mark.parametrize(
    ("include", "held"), [("", partial(UNIT)), ("Metadata", partial(UNIT)), ("None", None), ("Object", UNIT)]
)
def test_what_a_row_holds(include: str, held: Object | None) -> None:
    chosen = include_parameter({"includeObject": include})
    made = table(GPUUNIT, [UNIT], {}, NOW, include=chosen, columns=UNIT_COLUMNS)
    assert made["rows"] == [{"cells": ["u", "s", None, None, "90s"], "object": held}]


def test_an_unknown_include_is_refused() -> None:
    with pytest.raises(ApiFailure, match="must be 'Metadata', 'Object', 'None', or empty"):
        include_parameter({"includeObject": "Foo"})


def shown(kind: Kind, shape: Any = "") -> Presentation:
    return Presentation(kind, Form(shape=shape), NOW)


def test_lists_in_each_form() -> None:
    page = Page([UNIT], 9, "token", 3)
    metadata = {"resourceVersion": "9", "continue": "token", "remainingItemCount": 3}
    assert shown(GPUUNIT).of_list(page)["items"] == [UNIT]
    assert shown(GPUUNIT).of_list(Page([], 9))["metadata"] == {"resourceVersion": "9", "continue": ""}
    assert shown(POD).of_list(Page([UNIT], 9))["items"] == [{"metadata": UNIT["metadata"], "spec": UNIT["spec"]}]
    assert shown(POD).of_list(Page([], 9))["metadata"] == {"resourceVersion": "9"}
    assert shown(GPUUNIT, "Table").of_list(page)["metadata"] == metadata
    assert shown(GPUUNIT, "PartialObjectMetadataList").of_list(page) == {
        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "items": [partial(UNIT)],
    }  # fmt: skip


def test_objects_in_each_form() -> None:
    success = {"kind": "Status", "status": "Success"}
    assert shown(GPUUNIT, "Table").of_object(success) is success
    assert shown(GPUUNIT).of_object(UNIT) is UNIT
    assert shown(GPUUNIT, "PartialObjectMetadata").of_object(UNIT) == partial(UNIT)
    assert shown(GPUUNIT, "Table").of_object(UNIT)["metadata"] == {"resourceVersion": "7"}


@pytest.mark.parametrize(
    ("kind", "code", "problem"),
    [(GPUUNIT, 500, "content is not a list"), (DEPLOYMENT, 406, r"is not a list \(\*apps.Deployment\)")],
)
def test_an_object_is_no_list(kind: Kind, code: int, problem: str) -> None:
    with pytest.raises(ApiFailure, match=problem) as failure:
        shown(kind, "PartialObjectMetadataList").of_object(UNIT)
    assert failure.value.code == code


@pytest.mark.parametrize(("kind", "go_type"), [(GPUUNIT, "unstructured.UnstructuredList"), (POD, "core.PodList")])
def test_a_list_is_no_object(kind: Kind, go_type: str) -> None:
    with pytest.raises(ApiFailure, match=f"the requested object is a list .*{go_type}") as failure:
        shown(kind, "PartialObjectMetadata").of_list(Page([], 1))
    assert failure.value.code == 406
