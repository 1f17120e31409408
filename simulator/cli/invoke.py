"""`unitsim invoke`: one call through the runtime API of a running platform."""

import json
import sys
from pathlib import Path
from typing import Any

from simulator.api_client import ApiClient, Json
from simulator.cli.output import Output
from simulator.errors import UsageError

SYNC_BUDGET_S = 30
"""The API's own budget for a sync call that names none (contract 4.3)."""


def read_payload(text: str) -> Any:
    """Decode the payload argument: JSON, `@FILE`, or `-` for standard input.

    Raises:
        UsageError: the file cannot be read, or the text is not JSON.
    """
    source = "payload"
    if text == "-":
        source, text = "standard input", sys.stdin.read()
    elif text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the payload from {source}: {error}") from error
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{source} is not JSON: {error}; quote texts, as in '\"hello\"'") from error


async def run_invoke(api_url: str, body: Json, output: Output) -> int:
    """Send the call and print what came back; 1 when the result is a failure."""
    async with ApiClient(api_url) as api:
        answer = await api.invoke(body, timeout_s=body["timeoutSeconds"] or SYNC_BUDGET_S)
    output.result(answer)
    if body["mode"] == "async":
        already = ", which was there already" if answer.get("duplicate") else ""
        output.say(f"{answer['invocationID']} accepted as message {answer['sequence']}{already}")
        output.say(f"its result will be published on {answer['resultSubject']}")
        return 0
    failed = answer.get("state", "succeeded") != "succeeded"
    worker = f" by {answer['workerName']}" if answer.get("workerName") else ""
    kind = f" ({answer['failureClass']})" if answer.get("failureClass") else ""
    output.say(
        f"{answer.get('statusCode')} {answer.get('state', '')}{kind}{worker}", style="red" if failed else "green"
    )
    if answer.get("error"):
        output.say(answer["error"])
    if "body" in answer:
        output.pretty(answer["body"])
    return 1 if failed else 0
