"""How fast is the whole path? `python tests/bench/path.py`; `--help` lists the options.

In one run, on one machine: API, activator, sidecars and nats-server as processes of the real platform (`ours`), the
ones that one writes first (`plain`; `sequential` when its activator handles one invocation after the other), and a
round trip on core NATS as the floor. Callers make one call after the other. Absolute figures depend on the machine and
on what else it does, ratios less so. A run in which an accepted invocation has no result, or two, fails, whatever its
figures: exit code 1. Linux only; a default run takes under four minutes, and leaves no process and no file.
"""

import asyncio
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

# This file's own directory, which Python puts there, would hide the package `sidecar` behind it.
sys.path[0] = str(Path(__file__).parents[2])

import msgspec  # noqa: E402
import uvloop  # noqa: E402
from cyclopts import App, Parameter, validators  # noqa: E402

from simulator.errors import SimulatorError  # noqa: E402
from simulator.kubelet.socket_dir import SocketDir  # noqa: E402
from simulator.processes.spawn import Processes  # noqa: E402
from tests.bench.floors import request_round_trips  # noqa: E402
from tests.bench.lean_callers import CallersError  # noqa: E402
from tests.bench.lean_nats import LeanNatsError  # noqa: E402
from tests.bench.path_report import MANY, SOME, Round, report_of  # noqa: E402
from tests.bench.path_sites import SITES, PartFailedError, Site, our_site  # noqa: E402
from tests.bench.path_stream import Stream  # noqa: E402
from tests.bench.path_tables import show  # noqa: E402
from tests.bench.path_workload import Bench, Run  # noqa: E402
from tests.bench.processes import SidecarFailedError, site  # noqa: E402
from tests.bench.rounds import repeated  # noqa: E402
from tests.bench.sidecar import INTERRUPTED, SHOWN_FUNCTIONS, cpu_of_all_s, cpu_of_ours_s  # noqa: E402
from tests.bench.workload import IncorrectRunError  # noqa: E402

WORKERS: Final = (1, 4)
SHARES: Final = {1: 8, 16: 2, SOME: 1, MANY: 1}
"""Numbers of sync callers, and which part of the count each gets: fewer take longer for each."""
COMPARED: Final = (SOME,)
"""Of these, what the sequential path is measured with: where it differs, and a goal is."""
FLOOR_REQUESTS: Final = 500
TIME_LIMIT_S: Final = 220.0
"""No further round is begun that would probably end later."""

Count = Annotated[int, Parameter(validator=validators.Number(gte=8))]
Rounds = Annotated[int, Parameter(validator=validators.Number(gte=1))]

app = App(name="path", help=__doc__, help_format="plaintext", default_parameter=Parameter(negative=()))


class Measurements:
    """Runs measurements, each number of workers and kind of path on a site of its own."""

    def __init__(self, processes: Processes, sockets: SocketDir) -> None:
        self._processes = processes
        self._sockets = sockets

    async def rounds(self, count: int, most: int) -> list[Round]:
        """Measure all kinds in turns, `most` times or as often as time allows."""

        async def measure() -> Round:
            measured = Round(floor_s={}, runs=[])
            for workers in WORKERS:
                await self._pair(measured, workers, count)
            return measured

        return await repeated(measure, most, TIME_LIMIT_S)

    async def _pair(self, measured: Round, workers: int, count: int) -> None:
        """Measure all kinds with so many workers; each time the floor first, beside a site that waits."""
        floor_s: tuple[float, ...] = ()
        async with site(self._processes, self._sockets) as floor, floor.sidecar("floor", 1):
            for kind, make in SITES.items():
                async with make(self._processes, self._sockets, workers) as here:
                    floor_s += await request_round_trips(floor, b"x", FLOOR_REQUESTS)
                    measured.runs += await _runs(here, count, COMPARED if kind == "sequential" else tuple(SHARES))
                sys.stderr.write(f"{workers} workers, {kind}: done\n")
        measured.floor_s[workers] = floor_s

    async def profile(self, count: int) -> None:
        """Print where our API and activator spend their time: functions by their own time."""
        with tempfile.TemporaryDirectory(prefix="path-profile-") as directory:
            async with (
                our_site(self._processes, self._sockets, WORKERS[-1], Path(directory)) as here,
                Stream.connected(here.nats_url, here.credentials) as stream,
            ):
                run = await Bench(here, stream).run("sync", SOME, count)
            for part in ("api", "activator"):
                sys.stdout.write(f"{part}: {run.cpu_us[part]:.0f} µs CPU each under the profiler\n")
                stats = pstats.Stats(str(Path(directory) / f"{part}.prof"), stream=sys.stdout)
                stats.strip_dirs().sort_stats("tottime").print_stats(SHOWN_FUNCTIONS)


async def _runs(here: Site, count: int, numbers: Sequence[int]) -> list[Run]:
    """Measure a site with these numbers of sync callers, then with async ones; checked at the end."""
    async with Stream.connected(here.nats_url, here.credentials) as stream:
        bench = Bench(here, stream)
        runs = [await bench.run("sync", callers, max(count // SHARES[callers], 1)) for callers in numbers]
        runs.append(await bench.run("async", MANY, count))
        await bench.verify()
    return runs


@app.default
def main(*, count: Count = 2000, rounds: Rounds = 2, json: bool = False, profile: bool = False) -> int:
    """Measure, and print what was found.

    Args:
        count: Invocations per measurement with 64 and with 256 callers; half with 16, an eighth with one.
        rounds: How often all is measured; the figures are medians. Fewer when time runs out.
        json: Print one JSON document instead of tables.
        profile: Only call our path with 64 sync callers and 4 workers, API and activator under cProfile.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_run(count, rounds, as_json=json, profile=profile))
        except KeyboardInterrupt:
            return INTERRUPTED
        except IncorrectRunError as error:
            sys.stderr.write("".join(f"FAILED {problem}\n" for problem in error.problems))
            if json:
                sys.stdout.write(msgspec.json.encode({"correct": False, "problems": error.problems}).decode() + "\n")
            return 1
        except (PartFailedError, SidecarFailedError, CallersError, LeanNatsError, TimeoutError) as error:
            sys.stderr.write(f"FAILED {type(error).__name__} {error}\n")
            return 1
        except SimulatorError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code


async def _run(count: int, most_rounds: int, *, as_json: bool, profile: bool) -> int:
    async with Processes() as processes, SocketDir(processes) as sockets:
        measurements = Measurements(processes, sockets)
        if profile:
            await measurements.profile(count)
            return 0
        all_s, own_s, began = cpu_of_all_s(), cpu_of_ours_s(), time.monotonic()
        rounds = await measurements.rounds(count, most_rounds)
        available_s = (time.monotonic() - began) * (os.cpu_count() or 1)
        others_s = (cpu_of_all_s() - all_s) - (cpu_of_ours_s() - own_s)
    report = report_of(rounds, max(others_s / available_s, 0.0))
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        show(report)
    return 0


if __name__ == "__main__":
    sys.exit(app(result_action="return_value"))
