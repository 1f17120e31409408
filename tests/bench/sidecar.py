"""How fast is the sidecar? `python tests/bench/sidecar.py`, or `nox -s bench`; `--help` lists the options.

In one run, on one machine: the real sidecar process (`ours`), the one that one writes first (`plain`), and the floor
below which neither can go. Absolute figures depend on the machine and on what else it does, ratios less so. A run in
which not every invocation was done exactly once fails, whatever its figures: exit code 1. Linux only; a default run
takes under three minutes, and leaves no process and no file.
"""

import asyncio
import os
import pstats
import resource
import sys
import time
from pathlib import Path
from typing import Annotated, Final

# This file's own directory, which Python puts there, would hide the package `sidecar` behind it.
sys.path[0] = str(Path(__file__).parents[2])

import msgspec  # noqa: E402
import psutil  # noqa: E402
import uvloop  # noqa: E402
from cyclopts import App, Parameter, validators  # noqa: E402

from simulator.errors import SimulatorError  # noqa: E402
from simulator.kubelet.socket_dir import SocketDir  # noqa: E402
from simulator.processes.spawn import Processes  # noqa: E402
from tests.bench.floors import floors  # noqa: E402
from tests.bench.lean_nats import LeanNatsError  # noqa: E402
from tests.bench.processes import SidecarFailedError, site  # noqa: E402
from tests.bench.report import MOST_IN_FLIGHT, Round, report_of  # noqa: E402
from tests.bench.rounds import repeated  # noqa: E402
from tests.bench.tables import show  # noqa: E402
from tests.bench.workload import IncorrectRunError, backlog, paced  # noqa: E402

SHARES: Final = {1: 4, 8: 2, MOST_IN_FLIGHT: 1}
"""Concurrencies, and which part of the count each gets: fewer in flight take longer for each."""
TIME_LIMIT_S: Final = 165.0
"""No further round is begun that would probably end later."""
SHOWN_FUNCTIONS: Final = 25
INTERRUPTED: Final = 130

Count = Annotated[int, Parameter(validator=validators.Number(gte=8))]
Rounds = Annotated[int, Parameter(validator=validators.Number(gte=1))]

app = App(name="bench", help=__doc__, help_format="plaintext", default_parameter=Parameter(negative=()))


class Bench:
    """Runs measurements, each in surroundings of its own."""

    def __init__(self, processes: Processes, sockets: SocketDir) -> None:
        self._processes = processes
        self._sockets = sockets

    async def rounds(self, count: int, most: int) -> list[Round]:
        """Measure all kinds in turns, `most` times or as often as time allows."""
        return await repeated(lambda: self._round(count), most, TIME_LIMIT_S)

    async def _round(self, count: int) -> Round:
        alone = count // SHARES[1]
        async with site(self._processes, self._sockets) as here:
            found = Round(await floors(here, count, alone))
        for in_flight, share in SHARES.items():
            for kind in ("ours", "plain"):
                async with site(self._processes, self._sockets) as here:
                    found.backlogs.append(await backlog(here, kind, in_flight, count // share))
        for kind in ("ours", "plain", "floor"):
            async with site(self._processes, self._sockets) as here:
                found.paced.append(await paced(here, kind, alone))
        return found

    async def profile(self, count: int) -> None:
        """Print where our sidecar spends its time with 64 in flight: functions by their own time."""
        async with site(self._processes, self._sockets) as here:
            measured = await backlog(here, "profiled", MOST_IN_FLIGHT, count)
            sys.stdout.write(f"{count} invocations, {measured.sidecar_us:.0f} µs CPU each under the profiler\n")
            stats = pstats.Stats(str(here.directory / "sidecar.prof"), stream=sys.stdout)
        stats.strip_dirs().sort_stats("tottime").print_stats(SHOWN_FUNCTIONS)


@app.default
def main(*, count: Count = 3000, rounds: Rounds = 3, json: bool = False, profile: bool = False) -> int:
    """Measure, and print what was found.

    Args:
        count: Invocations per measurement with 64 in flight; fewer with 8, with one, and one at a time.
        rounds: How often all is measured; the figures are medians. Fewer when time runs out.
        json: Print one JSON document instead of tables.
        profile: Only run our sidecar, with 64 in flight, under cProfile.
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
        except (SidecarFailedError, LeanNatsError, TimeoutError) as error:
            sys.stderr.write(f"FAILED {type(error).__name__} {error}\n")
            return 1
        except SimulatorError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code


async def _run(count: int, most_rounds: int, *, as_json: bool, profile: bool) -> int:
    async with Processes() as processes, SocketDir(processes) as sockets:
        bench = Bench(processes, sockets)
        if profile:
            await bench.profile(count)
            return 0
        all_s, own_s, began = cpu_of_all_s(), cpu_of_ours_s(), time.monotonic()
        rounds = await bench.rounds(count, most_rounds)
        available_s = (time.monotonic() - began) * (os.cpu_count() or 1)
        others_s = (cpu_of_all_s() - all_s) - (cpu_of_ours_s() - own_s)
    report = report_of(rounds, max(others_s / available_s, 0.0))
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        show(report)
    return 0


def cpu_of_all_s() -> float:
    """CPU seconds that the whole machine has used so far."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait)


def cpu_of_ours_s() -> float:
    """CPU seconds of this process and of all its children that ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    sys.exit(app(result_action="return_value"))
