"""What a real Kubernetes 1.36 made of objects, good and bad, against what the rules here make of them.

`builtin_golden/create.jsonl` holds an object in each line and the answer to its creation; `update.jsonl` begins with
stored objects, and then has the changes of one of them in each line.
"""

import copy
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from simulator.kube.builtin.admission import admitted_pod
from simulator.kube.builtin.defaults import with_builtin_defaults
from simulator.kube.builtin.preparation import prepare_builtin_create, prepare_builtin_update
from simulator.kube.builtin.rules import builtin_causes
from simulator.kube.builtin.service_addresses import Taken, with_addresses
from simulator.kube.builtin.warnings import builtin_warnings
from simulator.kube.kinds import ALL_KINDS, POD, SERVICE, Kind, Object
from simulator.kube.status import ApiFailure, Cause

GOLDEN = Path(__file__).parent / "builtin_golden"
KINDS = {kind.kind: kind for kind in ALL_KINDS}
NAMESPACE = "kb-1"

Line = dict[str, Any]


def lines(name: str) -> list[Line]:
    return [json.loads(line) for line in (GOLDEN / name).read_text().splitlines()]


CREATIONS = lines("create.jsonl")
STORED, *UPDATES = lines("update.jsonl")


def created(kind: Kind, body: Object) -> Object | list[Cause]:
    """The new object as far as its kind determines it, or what is wrong with it."""
    metadata = {**body["metadata"], **({"namespace": NAMESPACE} if kind.namespaced else {})}
    obj = {**body, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
    new = with_builtin_defaults(kind, obj)
    if kind == POD:
        new = admitted_pod(new, {"default": Object()}.get, lambda: "abcde")
    if kind == SERVICE:
        new = with_addresses(new, None, Taken())
    new = prepare_builtin_create(kind, new)
    return builtin_causes(kind, new, None) or new


def updated(kind: Kind, sent: Object, old: Object) -> Object | list[Cause]:
    """The changed object as far as its kind determines it, or what is wrong with it."""
    new = with_builtin_defaults(kind, sent)
    if kind == SERVICE:
        new = with_addresses(new, old, Taken())
    new = prepare_builtin_update(kind, new, old)
    return builtin_causes(kind, new, old) or new


def changed(obj: Object, path: str, value: Any) -> None:
    """Set what is at a path such as `spec.ports.0.name`; None takes it away."""
    *parents, last = path.split(".")
    inside: Any = obj
    for name in parents:
        inside = inside[int(name)] if isinstance(inside, list) else inside.setdefault(name, {})
    if value is None:
        inside.pop(last, None)
    else:
        inside[last] = value


def comparable(obj: Object) -> Any:
    """The object without what differs from run to run."""
    server_owned = ("uid", "creationTimestamp", "resourceVersion", "generation", "managedFields")
    metadata = {name: value for name, value in obj["metadata"].items() if name not in server_owned}
    text = json.dumps({**obj, "metadata": metadata}, sort_keys=True)
    text = re.sub(r'"10\.96\.\d+\.\d+"', '"ADDRESS"', text)
    text = re.sub(r'odePort": 3[0-2]\d\d\d', 'odePort": 30000', text)
    return json.loads(re.sub(r'"lastTransitionTime": [^,}]+', '"lastTransitionTime": null', text))


def shown(causes: Sequence[Cause | Line]) -> list[tuple[str, str, str]]:
    """The causes in any order, as the real server goes through maps in any; without the dump of its structures."""
    entries = [(c.reason, c.message, c.field) if isinstance(c, Cause) else tuple(c.values()) for c in causes]
    return sorted((reason, message.partition("\n")[0], field) for reason, message, field in entries)


def check(recorded: Line, answer: Object | list[Cause]) -> None:
    if isinstance(answer, list):
        assert recorded["code"] == 422, shown(answer)
        assert shown(answer) == shown(recorded["answer"]["causes"])
    else:
        assert recorded["code"] in (200, 201), recorded["answer"]
        assert comparable(answer) == comparable(recorded["answer"])


def check_failure(recorded: Line, failure: ApiFailure) -> None:
    assert (recorded["code"], recorded["answer"]["message"]) == (failure.code, failure.body["message"])


@pytest.mark.parametrize("recorded", CREATIONS, ids=[f"{n}-{line['kind']}" for n, line in enumerate(CREATIONS)])
def test_creation(recorded: Line) -> None:
    kind = KINDS[recorded["kind"]]
    try:
        answer = created(kind, recorded["body"])
    except ApiFailure as failure:
        check_failure(recorded, failure)
        return
    check(recorded, answer)
    if not isinstance(answer, list):
        assert sorted(builtin_warnings(kind, answer, None)) == sorted(recorded["warnings"])


@pytest.mark.parametrize("recorded", UPDATES, ids=[f"{n}-{line['of']}" for n, line in enumerate(UPDATES)])
def test_update(recorded: Line) -> None:
    old = STORED["stored"][recorded["of"]]
    before, sent = copy.deepcopy(old), copy.deepcopy(old)
    for path, value in recorded["changes"]:
        changed(sent, path, value)
    try:
        answer = updated(KINDS[old["kind"]], sent, old)
    except ApiFailure as failure:
        check_failure(recorded, failure)
    else:
        check(recorded, answer)
    assert old == before


def test_the_recordings_have_good_and_bad_objects_of_many_kinds() -> None:
    taken = {line["kind"] for line in CREATIONS if line["code"] == 201}
    refused = {line["kind"] for line in CREATIONS if line["code"] == 422}
    assert len(taken) >= 16
    assert len(refused) >= 17
    assert len(CREATIONS) + len(UPDATES) > 220
