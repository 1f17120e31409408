"""1,000 invocations while the framework crashes, the sidecar is killed and the server restarts: each is answered once.

What happens when is drawn from a seed, which the test prints; `PROOF_SEED` in the environment repeats a run.
"""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.proof.stage import end
from tests.proof.steps import TIMEOUT_S

if TYPE_CHECKING:
    from tests.proof.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

INVOCATIONS: Final = 1000
CONCURRENCY: Final = 8
SETTINGS: Final = {
    "MAX_CONCURRENCY": str(CONCURRENCY),
    "DISPATCH_ACK_WAIT": "1s",
    # An invocation may be among the victims of many kills; here none may be given up for that.
    "DISPATCH_MAX_DELIVER": "100",
}
FAULTS: Final = {"sidecar": 6, "framework": 6, "server killed": 2, "server stopped": 2}
CRASHING_HANDLERS: Final = 6
LATEST_FAULT: Final = 800
"""The last fault comes when this many runs have begun, so that the end of the load meets a whole system."""


class Chaos:
    """The three processes, and the account of all runs: pairs of invocation ID and the sidecar's process ID."""

    def __init__(self, stage: "Stage", seed: int) -> None:
        self._stage = stage
        self._seed = seed
        self._socket_path = str(stage.socket_directory / "crashing.sock")
        self._framework: asyncio.subprocess.Process | None = None
        self._sidecar: asyncio.subprocess.Process | None = None
        self._began = asyncio.Event()
        self.runs: list[tuple[str, int]] = []
        self.framework_deaths = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the sidecar and the framework; start the framework again whenever it dies."""
        await self._start_sidecar()
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(self._keep_framework())
            yield
            keeping.cancel()

    async def _keep_framework(self) -> None:
        while True:
            self._framework = await self._stage.start(
                *(sys.executable, "-m", "tests.proof.crashing_framework", self._socket_path, str(self._seed)),
                stdout=asyncio.subprocess.PIPE,
            )
            assert self._framework.stdout is not None
            async for line in self._framework.stdout:
                invocation_id, sidecar = line.split()
                self.runs.append((invocation_id.decode(), int(sidecar)))
                self._began.set()
            self.framework_deaths += 1

    async def _start_sidecar(self) -> None:
        self._sidecar = await self._stage.start_sidecar(
            NATS_URL=self._stage.direct_url, FRAMEWORK_SOCKET_PATH=self._socket_path, **SETTINGS
        )

    async def until_runs(self, count: int) -> None:
        """Wait until `count` runs have begun."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while len(self.runs) < count:
                    self._began.clear()
                    await self._began.wait()
        except TimeoutError:
            assert self._sidecar is not None
            exit_code = self._sidecar.returncode
            raise AssertionError(f"{len(self.runs)} of {count} runs; the sidecar's exit code is {exit_code}") from None

    async def strike(self, fault: str) -> None:
        """Let a fault happen, and start what it ended."""
        if fault == "framework":
            assert self._framework is not None
            await end(self._framework)
        elif fault == "sidecar":
            assert self._sidecar is not None
            await end(self._sidecar)
            await self._start_sidecar()
        else:
            await self._stage.end_server(signal.SIGKILL if fault == "server killed" else signal.SIGTERM)
            await self._stage.start_server()


def plan(chance: random.Random) -> list[tuple[int, str]]:
    """The faults with the number of runs at which each strikes, in order."""
    faults = [fault for fault, count in FAULTS.items() for _ in range(count)]
    chance.shuffle(faults)
    moments = sorted(chance.randrange(1, LATEST_FAULT) for _ in faults)
    return list(zip(moments, faults, strict=True))


async def test_every_invocation_is_answered_once_whatever_dies(stage: "Stage") -> None:
    seed = int(os.environ.get("PROOF_SEED", random.SystemRandom().randrange(2**32)))
    print(f"PROOF_SEED={seed}")  # noqa: T201 - pytest shows it with a failure
    chance = random.Random(seed)
    invocations = [f"inv-{number}" for number in range(INVOCATIONS)]
    crashing = set(chance.sample(invocations, CRASHING_HANDLERS))
    for invocation_id in invocations:
        await stage.dispatch(invocation_id, mode="async", replySubject="", payload={"crash": invocation_id in crashing})

    chaos = Chaos(stage, seed)
    async with chaos.running():
        for moment, fault in plan(chance):
            await chaos.until_runs(moment)
            await chaos.strike(fault)
        await stage.settled()

    results = await stage.stored("result")
    assert len(results) == INVOCATIONS
    states = {result["invocationID"]: (result["state"], result.get("failureClass", "")) for result in results}
    assert set(states) == set(invocations)
    assert await stage.stored("dlq") == []
    # A sidecar runs an invocation once; every further run was made by the successor of one that was killed.
    assert [run for run, times in Counter(chaos.runs).items() if times > 1] == []
    succeeded = {invocation_id for invocation_id, state in states.items() if state == ("succeeded", "")}
    failed = {invocation_id for invocation_id, state in states.items() if state == ("failed", "framework_error")}
    assert succeeded | failed == set(invocations)
    assert succeeded <= {invocation_id for invocation_id, _ in chaos.runs}
    assert crashing <= failed
    # A dying framework fails the calls that run, and those that meet its last open connections.
    assert len(failed) <= 2 * CONCURRENCY * chaos.framework_deaths
