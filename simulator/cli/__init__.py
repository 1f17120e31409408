"""The command line `unitsim`: a thin layer that turns arguments into calls and errors into lines and exit codes.

0 all went well; 1 a scenario, an invocation or the platform failed; 2 wrong usage; 4 something is missing on this
machine; 5 nothing was selected; 130 interrupted.
"""

import gc
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from simulator.cli.app import app
from simulator.cli.output import Output
from simulator.errors import SimulatorError

INTERRUPTED = 130
GC_THRESHOLD = 50_000
"""Objects made before they are looked through: what is imported stays, and 700 would cost a tenth of the start."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `unitsim` program; exits with the code of the table above."""
    gc.set_threshold(GC_THRESHOLD)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        Output.complain(f"{error} Try 'unitsim --help'.")
        return 2
    except SimulatorError as error:
        Output.complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        Output.complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away, as `| head` does
        return 1
    return code if isinstance(code, int) else 0
