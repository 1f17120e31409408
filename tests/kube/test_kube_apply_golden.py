"""Applies and patches of a real Kubernetes 1.36, recorded, through the pure functions that decide them.

What comes before and after (parameters, the stored status, defaults, validation) is not part of it, so only what the
functions answer for is compared: refusals of their own, the patched spec, and who manages which fields.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from simulator.kube.apply.applying import applied
from simulator.kube.apply.updating import record_update
from simulator.kube.kinds import DEPLOYMENT, GPUUNIT, Kind, Object
from simulator.kube.patching.merge import merge_patch
from simulator.kube.patching.patches import APPLY_PATCH, STRATEGIC_PATCH, patched, read_config
from simulator.kube.schema.defaulting import with_defaults
from simulator.kube.status import ApiFailure
from tests.kube.apply_world import NOW, UNIT_SCHEMA, schema_of

GOLDEN = Path(__file__).parent / "golden"


def recorded(topic: str, *cases: str) -> list[Any]:
    # A time that can be read stands for each of the recorded ones.
    text = re.sub(r'"time-\d+"', '"2020-01-01T00:00:00Z"', (GOLDEN / f"{topic}.jsonl").read_text())
    exchanges = [json.loads(line) for line in text.splitlines()]
    return [pytest.param([one for one in exchanges if one["case"] == case], id=f"{topic}-{case}") for case in cases]


def without_times(entries: list[Object]) -> list[str]:
    kept = [{name: value for name, value in entry.items() if name != "time"} for entry in entries]
    return sorted(json.dumps(entry, sort_keys=True) for entry in kept)


def tried(function: Any, *arguments: Any, **options: Any) -> tuple[Any, Object | None]:
    """What the function returns, or the body of its failure."""
    try:
        return function(*arguments, **options), None
    except ApiFailure as failure:
        return None, failure.body


def target(exchange: Any) -> tuple[Kind, str, str, dict[str, str]]:
    path, _, query = exchange["request"]["path"].partition("?")
    kind = GPUUNIT if "/gpuunits" in path else DEPLOYMENT
    _, _, rest = path.partition(f"/{kind.plural}")
    name, _, subresource = rest.strip("/").partition("/")
    return kind, name, subresource, dict(part.split("=") for part in query.split("&") if part)


@pytest.mark.parametrize("exchanges", recorded("apply", "create_update", "conflict", "lists", "status"))
def test_recorded_applies(exchanges: list[Any]) -> None:
    old: Object | None = None
    for exchange in exchanges:
        kind, name, subresource, query = target(exchange)
        response, body = exchange["response"], exchange["request"]["body"]
        if name == "absent":
            continue
        manager = query.get("fieldManager", "tester")
        if exchange["request"]["headers"]["content-type"] != APPLY_PATCH:
            assert old is not None
            new = merge_patch(old, body)
            entries = record_update(kind, UNIT_SCHEMA, old, new, manager=manager, subresource=subresource, now=NOW)
        else:
            config, _ = read_config(json.dumps(body).encode())
            options: Any = {"manager": manager, "force": query.get("force") == "true", "subresource": subresource}
            new, failure = tried(applied, kind, UNIT_SCHEMA, old, config, now=NOW, **options)
            if failure is not None:
                assert failure == response["body"], exchange["seq"]
                continue
            entries = new["metadata"]["managedFields"]
        assert response["status"] in (200, 201), exchange["seq"]
        assert without_times(entries) == without_times(response["body"]["metadata"]["managedFields"])
        assert with_defaults(UNIT_SCHEMA, new)["spec"] == response["body"]["spec"]
        old = response["body"]


@pytest.mark.parametrize("exchanges", recorded("patch", "merge", "json_patch"))
def test_recorded_patches(exchanges: list[Any]) -> None:
    old = exchanges[0]["response"]["body"]
    for exchange in exchanges[1:]:
        kind, name, _, _ = target(exchange)
        request, response = exchange["request"], exchange["response"]
        if name != old["metadata"]["name"]:
            continue
        raw = request["body"] if isinstance(request["body"], str) else json.dumps(request["body"])
        media_type = request["headers"]["content-type"]
        found, failure = tried(patched, kind, UNIT_SCHEMA, old, raw.encode(), media_type)
        if failure is not None:
            assert failure == response["body"], exchange["seq"]
            continue
        new, _ = found
        if response["status"] == 200:
            assert new["spec"] == response["body"]["spec"], exchange["seq"]
            assert new["metadata"].get("labels") == response["body"]["metadata"].get("labels")
            old = response["body"]


def test_recorded_strategic_patches() -> None:
    exchanges: Any = recorded("patch", "strategic")[0].values[0]
    deployments = [one for one in exchanges if "/deployments" in one["request"]["path"]]
    old = untrimmed(deployments[0]["response"]["body"])
    compared = 0
    for exchange in deployments[1:]:
        body = json.dumps(exchange["request"]["body"]).encode()
        response = exchange["response"]
        found, failure = tried(patched, DEPLOYMENT, schema_of(DEPLOYMENT), old, body, STRATEGIC_PATCH)
        if failure is not None:
            assert failure == response["body"], exchange["seq"]
            continue
        new, warnings = found
        assert warnings == []
        assert contains(response["body"]["spec"], new["spec"]), exchange["seq"]
        old = untrimmed(response["body"])
        compared += 1
    assert compared == 10


def untrimmed(body: Object) -> Object:
    return {name: value for name, value in body.items() if name != "trimmed"}


def contains(value: Any, part: Any) -> bool:
    """Whether the value is the part with defaults."""
    if isinstance(part, dict):
        return all(name in value and contains(value[name], held) for name, held in part.items())
    if isinstance(part, list):
        return len(value) == len(part) and all(map(contains, value, part))
    return bool(value == part)
