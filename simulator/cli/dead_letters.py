"""What `unitsim dlq` does: asks the runtime API of a running platform, and tells what came of it."""

import sys
from collections.abc import Awaitable, Callable, Sequence

from rich.console import Console

from simulator.api_client import ApiRefusedError, Json
from simulator.cli.dead_letter_text import described, lines, original_of, table
from simulator.cli.output import Output
from simulator.dead_letters_client import MOST, DeadLettersClient
from simulator.errors import SimulatorError, UsageError

GONE = 404


class DeclinedError(SimulatorError):
    """The person who was asked said no."""


async def run_list(api_url: str, limit: int, source: str, pool: str, output: Output) -> int:
    """List the newest: a table on a terminal, else a line each."""
    async with DeadLettersClient(api_url) as client:
        found = await client.newest(limit, source=source, pool=pool)
    output.result(found)
    console = Console(highlight=False)
    if not found:
        output.say("no dead letters")
    elif console.is_terminal and not output.as_json:
        console.print(table(found))
    else:
        for line in lines(found):
            output.say(line)
    return 0


async def run_show(api_url: str, sequence: int, output: Output) -> int:
    """Show one with everything that is known of it."""
    async with DeadLettersClient(api_url) as client:
        letter = await client.get(sequence)
    output.result(letter)
    for line in described(letter):
        output.say(line)
    return 0


async def run_payload(api_url: str, sequence: int) -> int:
    """Write the bytes of the message that was given up; 1 when they are not all known."""
    async with DeadLettersClient(api_url) as client:
        letter = await client.get(sequence)
    data, size = original_of(letter)
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
    if len(data) == size:
        return 0
    Output.complain(f"only the first {len(data)} of {size} bytes are known")
    return 1


async def run_retry(api_url: str, sequences: Sequence[int], output: Output) -> int:
    """Queue each again; 1 when one could not be."""
    async with DeadLettersClient(api_url) as client:

        async def retry(sequence: int) -> Json:
            receipt = await client.retry(sequence)
            already = ", which was there already" if receipt["duplicate"] else ""
            output.say(f"{sequence} queued again as {receipt['invocationID']}, message {receipt['sequence']}{already}")
            return receipt

        outcomes, code = await _each(sequences, retry)
    output.result(outcomes)
    return code


async def run_drop(api_url: str, sequences: Sequence[int], output: Output) -> int:
    """Delete each; 1 when one could not be."""
    async with DeadLettersClient(api_url) as client:

        async def drop(sequence: int) -> Json:
            await client.drop(sequence)
            output.say(f"{sequence} dropped")
            return {"deadLetter": sequence}

        outcomes, code = await _each(sequences, drop)
    output.result(outcomes)
    return code


async def newest_of_all(api_url: str, pool: str) -> int:
    """Number of the newest dead letter, of a pool when one is named; 0 when there is none."""
    async with DeadLettersClient(api_url) as client:
        found = await client.newest(1, pool=pool)
    return int(found[0]["sequence"]) if found else 0


async def run_drop_all(api_url: str, pool: str, newest: int, output: Output) -> int:
    """Delete all up to `newest`: later ones were not there when this was decided."""
    dropped = 0
    async with DeadLettersClient(api_url) as client:
        while newest:
            found = [letter["sequence"] for letter in await client.newest(MOST, pool=pool)]
            chosen = [sequence for sequence in found if sequence <= newest]
            if not chosen:
                break
            for sequence in chosen:
                dropped += await _dropped(client, sequence)
    output.say(f"{dropped} dropped" if dropped else "no dead letters")
    output.result({"dropped": dropped})
    return 0


async def _dropped(client: DeadLettersClient, sequence: int) -> bool:
    """Delete one; False when somebody else did."""
    try:
        await client.drop(sequence)
    except ApiRefusedError as error:
        if error.status != GONE:
            raise
        return False
    return True


async def _each(sequences: Sequence[int], act: Callable[[int], Awaitable[Json]]) -> tuple[list[Json], int]:
    """What came of each, refusals included, and the exit code; one refusal does not keep the others from being done."""
    outcomes: list[Json] = []
    code = 0
    for sequence in sequences:
        try:
            outcomes.append(await act(sequence))
        except ApiRefusedError as error:
            Output.complain(f"dead letter {sequence}: {error}")
            outcomes.append({"deadLetter": sequence, "error": {"code": error.code, "message": str(error)}})
            code = max(code, error.exit_code)
    return outcomes, code


def confirm(what: str) -> None:
    """Ask the person at the terminal.

    Raises:
        UsageError: there is no terminal.
        DeclinedError: the answer was not yes.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"give --yes to {what}: there is no terminal to ask on")
    sys.stderr.write(f"{what}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise DeclinedError("nothing was dropped")
