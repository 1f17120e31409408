"""Waiting for a unit says why, when it does not become Ready."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from simulator.errors import PlatformError, WaitTimeoutError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.kube.kinds import Object
from simulator.waiting import explain, wait_until_ready, wait_until_unready


class StubUnits:
    def __init__(self, *states: Object | None) -> None:
        self._states = list(states)

    def get(self, namespace: str, name: str) -> Object | None:
        assert (namespace, name) == (ACTIVE_NAMESPACE, "u")
        return self._states[0]

    async def wait_for(self, find: Callable[[Any], Any], timeout_s: float) -> Any:
        while (found := find(self)) is None:
            if len(self._states) == 1:
                raise TimeoutError
            self._states.pop(0)
            await asyncio.sleep(0)
        return found


def unit(phase: str, reason: str = "Because", message: str = "of that") -> Object:
    condition = {"type": "Ready", "reason": reason, "message": message}
    return {"metadata": {"name": "u"}, "status": {"phase": phase, "conditions": [condition]}}


async def test_ready_is_returned() -> None:
    units = StubUnits(None, {"metadata": {"name": "u"}}, unit("Progressing"), unit("Ready"))
    assert await wait_until_ready(units, "u") == unit("Ready")  # type: ignore[arg-type]


async def test_failed_ends_the_wait_with_the_reason() -> None:
    with pytest.raises(PlatformError, match="unit u cannot run: PodStartupFailed: no such program"):
        await wait_until_ready(StubUnits(unit("Failed", "PodStartupFailed", "no such program")), "u")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (None, "it does not exist"),
        ({"metadata": {"name": "u"}}, "no status yet; no Ready condition yet"),
        (unit("Progressing", "UnitProgressing", "waiting"), "Progressing; UnitProgressing: waiting"),
    ],
)
async def test_a_timeout_says_what_was_seen_last(last: Object | None, said: str) -> None:
    with pytest.raises(WaitTimeoutError, match="unit u is not Ready after 3 s") as caught:
        await wait_until_ready(StubUnits(last), "u", timeout_s=3)  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_explain() -> None:
    assert explain(unit("Failed", "A", "b")) == "A: b"
    assert explain({}) == "no Ready condition yet"


async def test_no_longer_ready_is_seen_and_a_unit_that_stays_so_is_named() -> None:
    units = StubUnits(unit("Ready"), unit("Progressing"))
    assert await wait_until_unready(units, "u") == unit("Progressing")  # type: ignore[arg-type]
    with pytest.raises(WaitTimeoutError, match="unit u is still Ready after 60 s"):
        await wait_until_unready(StubUnits(unit("Ready")), "u")  # type: ignore[arg-type]
