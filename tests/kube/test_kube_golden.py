"""Answers of a real Kubernetes 1.36, recorded, against those of the embedded API.

`golden/<topic>.jsonl` holds recorded exchanges; those of one case are played in order in a namespace of their own
(`tests/kube/replay`). What differs has to stand on the list of known differences, and what stands there has to differ.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.kube.replay.cases import play, recorded_cases
from tests.kube.replay.corrections import CORRECTIONS
from tests.kube.replay.known_differences import KNOWN_DIFFERENCES
from tests.kube.replay.placeholders import Placeholders
from tests.kube.replay.player import Exchange, ExchangeKey

FIDELITY = Path(__file__).parents[2] / "docs" / "fidelity.md"
CASES = list(recorded_cases())


def key(exchange: Exchange) -> ExchangeKey:
    return exchange["topic"], exchange["case"], exchange["seq"]


def compared(exchange: Exchange) -> bool:
    return not exchange.get("setup") and not exchange.get("poll")


@pytest.mark.parametrize("exchanges", CASES, ids=[f"{case[0]['topic']}-{case[0]['case']}" for case in CASES])
async def test_recorded_exchange(exchanges: list[Exchange]) -> None:
    outcomes = await play(exchanges)
    assert sorted(outcome.key for outcome in outcomes) == sorted(key(one) for one in exchanges if compared(one))
    surprises = {outcome.key: outcome.differences for outcome in outcomes if outcome.key not in KNOWN_DIFFERENCES}
    assert {name: differences for name, differences in surprises.items() if differences} == {}
    equal = [outcome.key for outcome in outcomes if outcome.key in KNOWN_DIFFERENCES and not outcome.differences]
    assert equal == [], "answered equal now: take it off the list of known differences and off docs/fidelity.md"


def test_every_known_difference_and_correction_is_of_a_recorded_exchange() -> None:
    recorded = {key(exchange) for case in CASES for exchange in case}
    assert KNOWN_DIFFERENCES.keys() - recorded == set()
    assert CORRECTIONS.keys() - recorded == set()


def test_the_page_shows_the_known_differences() -> None:
    rows = [f"| `{topic}/{case}/{seq}` | {reason} |" for (topic, case, seq), reason in KNOWN_DIFFERENCES.items()]
    shown = [line for line in FIDELITY.read_text().splitlines() if line.startswith("| `") and line.count("/") > 1]
    assert [line for line in shown if line.split("`")[1].count("/") == 2] == rows


def test_the_page_has_the_figures() -> None:
    exchanges = [exchange for case in CASES for exchange in case]
    number, different = sum(map(compared, exchanges)), len(KNOWN_DIFFERENCES)
    figures = (
        f"{len(exchanges)} recorded exchanges in {len(CASES)} cases: {number} compared, {number - different} equal"
    )
    assert figures in FIDELITY.read_text()


@pytest.mark.parametrize(
    ("recorded", "answered", "differences"),
    [
        ({"uid": "uid-1"}, {"uid": "00000000-0000-0000-0000-000000000000"}, 0),
        ({"uid": "uid-1"}, {"uid": "abc"}, 1),
        ({"a": "rv-1", "b": "rv-1"}, {"a": "7", "b": "7"}, 0),
        ({"a": "rv-1", "b": "rv-1"}, {"a": "7", "b": "8"}, 1),
        ({"a": 1}, {"a": True}, 1),
        ({"a": 1}, {}, 1),
        ({}, {"a": 1}, 1),
        ([1, 2], [1], 1),
        ("left at time-1.", "left at 2026-01-01T00:00:00Z.", 0),
        ("left at time-1.", "left at noon.", 1),
    ],
)
def test_a_difference_is_noticed(recorded: Any, answered: Any, differences: int) -> None:
    assert len(list(Placeholders().differences(recorded, answered))) == differences


def test_resource_versions_keep_their_order() -> None:
    names = Placeholders()
    assert list(names.differences(["rv-1", "rv-2"], ["7", "5"])) == []
    assert names.order_problems() == ["rv-1 is 7, rv-2 is 5"]
