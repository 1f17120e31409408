"""`unitsim doctor`: what this machine lacks, and what to do about it."""

from typing import Annotated, Literal

from cyclopts import Parameter

from simulator.cli.execution import run_async
from simulator.cli.flags import Json
from simulator.cli.output import Output
from simulator.errors import EnvironmentMissing


def doctor(
    *,
    target: Annotated[Literal["local", "kind"], Parameter(help="Where the platform is to run.")] = "local",
    json: Json = False,
) -> int:
    """Look at what the platform needs here; exit code 4 when something that the target needs is missing."""
    from simulator.install.doctor import Target, examine

    output, chosen = Output(json), Target(target)
    findings = run_async(examine())
    for finding in findings:
        mark = "ok" if finding.ok else "MISSING" if finding.blocks(chosen) else "-"
        output.say(f"{mark:<8} {finding.name:<17} {finding.found}", style="red" if finding.blocks(chosen) else None)
        if not finding.ok:
            output.say(f"{'':<9}needed: {finding.needed}")
            output.say(f"{'':<9}fix: {finding.fix}")
    blocking = [finding.name for finding in findings if finding.blocks(chosen)]
    output.result(
        {
            "target": target,
            "ready": not blocking,
            "findings": [
                {
                    "name": finding.name,
                    "found": finding.found,
                    "needed": finding.needed,
                    "ok": finding.ok,
                    "fix": finding.fix,
                    "neededFor": sorted(each.value for each in finding.needed_for),
                }
                for finding in findings
            ],
        }
    )
    if blocking:
        output.say(f"not ready for {target}: {', '.join(blocking)}", style="red")
        return EnvironmentMissing.exit_code
    output.say(f"ready for {target}", style="green")
    return 0
