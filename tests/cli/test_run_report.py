"""What `unitsim run` says of scenarios that pass, fail and are skipped, and with which code it ends."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from simulator.cli.output import Output
from simulator.cli.scenario_runs import run_scenarios
from simulator.errors import ScenarioFailure
from simulator.scenario import Scenario
from simulator.targets.faults import Fault, Faults


@asynccontextmanager
async def target() -> AsyncIterator[Any]:
    refusals = {Fault.QUEUE_UNREACHABLE: "no network"}
    yield SimpleNamespace(faults=Faults({}, refusals), directory=None)


async def _pass(_target: Any) -> None: ...


async def _fail(_target: Any) -> None:
    raise ScenarioFailure("it rained")


async def _never(_target: Any) -> None:
    pytest.fail("it was played")


GOOD, BAD = Scenario("good", "", _pass), Scenario("bad", "", _fail)
SKIPPED = Scenario("dark", "", _never, frozenset([Fault.QUEUE_UNREACHABLE]))


@pytest.mark.parametrize(
    ("scenarios", "code", "lines"),
    [
        ([GOOD], 0, ["ok    good", "1 passed, 0 failed"]),
        ([GOOD, BAD], 1, ["ok    good", "FAIL  bad", "      it rained", "1 passed, 1 failed"]),
        (
            [SKIPPED, GOOD],
            0,
            ["skip  dark  queue-unreachable: no network", "ok    good", "1 passed, 0 failed, 1 skipped"],
        ),
        ([SKIPPED], 0, ["skip  dark", "nothing was proved: 1 skipped"]),
        ([SKIPPED, BAD], 1, ["skip  dark", "FAIL  bad", "      it rained", "0 passed, 1 failed, 1 skipped"]),
    ],
)
async def test_a_line_for_each_and_a_sum(
    scenarios: list[Scenario], code: int, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run_scenarios(scenarios, target, 5, Output(as_json=False)) == code
    said = capsys.readouterr().out.splitlines()
    assert [line[: len(wanted)] for line, wanted in zip(said, lines, strict=True)] == lines


async def test_machines_read_the_reason_too(capsys: pytest.CaptureFixture[str]) -> None:
    await run_scenarios([SKIPPED, BAD], target, 5, Output(as_json=True))
    skipped, failed = json.loads(capsys.readouterr().out)
    assert (skipped["passed"], skipped["error"], skipped["skipped"]) == (False, "", "queue-unreachable: no network")
    assert (failed["passed"], failed["error"], failed["skipped"]) == (False, "it rained", "")
