"""How fast is the platform? `python -m scenarios.load`, or `nox -s load`; `--help` lists the options.

A platform of its own is started for each number of workers, and called by locust in another process. Callers make one
call at a time (a closed loop): what is measured is how fast so many callers are served, not how long a queue of
arrivals would become. Absolute figures depend on the machine and on what else it does; the ratio to the floor, measured
in the same run, less so. The exit code is 1 when a call failed.
"""

import logging
import sys
from typing import Annotated, Final

import msgspec
from cyclopts import App, Parameter, validators

from scenarios.load.matrix import Plan, run_plan
from scenarios.load.report import show
from scenarios.load.samples import Mode
from simulator.cli.execution import run_async
from simulator.cli.output import configure_logs
from simulator.errors import SimulatorError

INTERRUPTED: Final = 130
DEFAULTS: Final = Plan()

Number = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Numbers = Annotated[tuple[Number, ...], Parameter(consume_multiple=True)]
Modes = Annotated[tuple[Mode, ...], Parameter(consume_multiple=True)]

app = App(name="load", help=__doc__, help_format="plaintext", default_parameter=Parameter(negative=()))


@app.default
def main(
    *,
    modes: Modes = DEFAULTS.modes,
    workers: Numbers = DEFAULTS.workers,
    callers: Numbers = DEFAULTS.callers,
    seconds: Number = DEFAULTS.seconds,
    concurrency: Number = DEFAULTS.concurrency,
    quick: bool = False,
    json: bool = False,
) -> int:
    """Measure, and print what was found.

    Args:
        modes: sync callers wait for the result in their answer, async callers submit and ask for it.
        workers: Numbers of workers; each gets a platform of its own.
        callers: Numbers of callers at once.
        seconds: How long each number of callers is measured.
        concurrency: How many calls a worker runs at once.
        quick: Only the first number of workers and the first two of callers, 2 s each, and one try of each probe.
        json: Print one JSON document instead of tables.
    """
    configure_logs(logging.ERROR)
    plan = Plan(modes=modes, workers=workers, callers=callers, seconds=seconds, concurrency=concurrency)
    try:
        report = run_async(run_plan(plan.quick() if quick else plan))
    except KeyboardInterrupt:
        return INTERRUPTED
    except SimulatorError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    if json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        show(report)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(app(result_action="return_value"))
