"""The commands `unitsim dlq ...`: flags and their rules; what they do is in `dead_letters`."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from simulator.cli.execution import run_async
from simulator.cli.flags import API_URL, ApiUrl, Json, switch
from simulator.cli.output import Output
from simulator.errors import UsageError

Source = Literal["invocation", "dispatch", "result", "metric"]
Pool = Annotated[str, Parameter(help="Only those of this pool ('unknown': of no pool).", show_default=False)]

app = App(name="dlq", help="Look at dead letters, queue them again, drop them.", help_on_error=False)


@app.command(name="list")
def list_(
    *,
    source: Annotated[Source | None, Parameter(help="Only what these were.")] = None,
    pool: Pool = "",
    limit: Annotated[int, Parameter(help="How many, up to 1000.")] = 20,
    api_url: ApiUrl = API_URL,
    json: Json = False,
) -> int:
    """List dead letters, the newest first."""
    from simulator.cli.dead_letters import run_list

    return run_async(run_list(api_url, limit, source or "", pool, Output(json)))


@app.command
def show(
    sequence: int,
    /,
    *,
    payload: Annotated[bool, switch(help="Write the bytes of the message that was given up, nothing else.")] = False,
    api_url: ApiUrl = API_URL,
    json: Json = False,
) -> int:
    """Show a dead letter, why it was given up, and the message that it was.

    Parameters
    ----------
    sequence
        Its number, from 'unitsim dlq list'.
    """
    from simulator.cli.dead_letters import run_payload, run_show

    if payload and json:
        raise UsageError("give --payload or --json, not both")
    return run_async(run_payload(api_url, sequence) if payload else run_show(api_url, sequence, Output(json)))


@app.command
def retry(*sequences: int, api_url: ApiUrl = API_URL, json: Json = False) -> int:
    """Queue the work of dead letters again, as new async invocations; the dead letters are then gone.

    Parameters
    ----------
    sequences
        Their numbers, from 'unitsim dlq list'.
    """
    from simulator.cli.dead_letters import run_retry

    if not sequences:
        raise UsageError("name the dead letters to queue again; 'unitsim dlq list' shows them")
    return run_async(run_retry(api_url, sequences, Output(json)))


@app.command
def drop(
    *sequences: int,
    all_: Annotated[bool, switch(name="--all", help="Drop every dead letter, or every one of --pool.")] = False,
    pool: Pool = "",
    yes: Annotated[bool, switch(help="Do not ask.")] = False,
    api_url: ApiUrl = API_URL,
    json: Json = False,
) -> int:
    """Delete dead letters for good.

    Parameters
    ----------
    sequences
        Their numbers, from 'unitsim dlq list'.
    """
    from simulator.cli.dead_letters import confirm, newest_of_all, run_drop, run_drop_all

    if bool(sequences) == all_:
        raise UsageError("name the dead letters to drop, or give --all")
    if pool and not all_:
        raise UsageError("--pool goes with --all")
    output = Output(json)
    if not all_:
        if not yes:
            confirm(f"drop {len(sequences)} dead letter{'s' if len(sequences) > 1 else ''}")
        return run_async(run_drop(api_url, sequences, output))
    newest = run_async(newest_of_all(api_url, pool))
    if newest and not yes:
        confirm(f"drop all dead letters{f' of pool {pool}' if pool else ''}")
    return run_async(run_drop_all(api_url, pool, newest, output))
