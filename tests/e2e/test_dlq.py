"""Dead letters from end to end: what nobody can handle goes in, and `unitsim dlq` gets it out again."""

import asyncio
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from scenarios.local_world import LocalWorld
from sidecar.messages import DeadLetterMessage, InvocationMessage, WorkerDispatchMessage, encode
from simulator.journal import Journal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
POOL = "sd-webui"
WORKER = "sd-webui-template"
TIMEOUT_S = 30.0
MALFORMED_INVOCATION = (
    b'{"invocationID":"order-1","serverlessRequestID":"sd-webui","timeoutSeconds":"20","payload":{"n": 1.50}}'
)
GARBAGE = b"\xff\x00 no json"
MALFORMED_DISPATCH = b'{"invocationID":"order-3","serverlessRequestID":"sd-webui","workerName":7}'
FOR_ANOTHER_WORKER = WorkerDispatchMessage(
    invocation_id="order-2",
    serverless_request_id=POOL,
    worker_name="sd-webui-old",
    worker_namespace="runtime-instance",
    mode="sync",
    payload=msgspec.Raw(b'{"prompt":"a robot"}'),
    reply_subject="_INBOX.gone",
)


@dataclass(frozen=True)
class Ended:
    code: int
    out: bytes
    err: str


async def execute(*command: str, url: str, directory: Path | None = None) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=directory,
        env=os.environ | {"UNITSIM_API_URL": url, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    async with asyncio.timeout(TIMEOUT_S):
        out, err = await process.communicate()
    return Ended(process.returncode or 0, out, err.decode())


async def dlq(world: LocalWorld, *arguments: str) -> Ended:
    return await execute(sys.executable, "-m", "simulator.cli", "dlq", *arguments, url=world.platform.api_url)


async def listed(world: LocalWorld, *arguments: str) -> list[int]:
    ended = await dlq(world, "list", "--json", *arguments)
    assert (ended.code, ended.err) == (0, "")
    return [letter["sequence"] for letter in json.loads(ended.out)]


async def buried(world: LocalWorld) -> list[int]:
    """Publish two invocations and a dispatch that cannot be read, and one for another worker (S20): their numbers."""
    await world.ready_pool(POOL)
    subjects = world.platform.queue.subjects
    numbers = []
    for count, (subject, data) in enumerate(
        [
            (subjects.invoke(POOL), MALFORMED_INVOCATION),
            (subjects.invoke(POOL), GARBAGE),
            (subjects.dispatch(POOL, WORKER), MALFORMED_DISPATCH),
            (subjects.dispatch(POOL, WORKER), encode(FOR_ANOTHER_WORKER)),
        ],
        1,
    ):
        await world.platform.queue.publish(subject, data, message_id=f"by-hand-{count}")
        numbers.append(await letter_number(world, count))
    return numbers


async def letter_number(world: LocalWorld, count: int) -> int:
    """The sequence of the `count`-th dead letter, once it is there."""

    def found(journal: Journal) -> int | None:
        sequences = [entry.sequence for entry in journal.entries if isinstance(entry.message, DeadLetterMessage)]
        return sequences[count - 1] if len(sequences) >= count else None

    return await world.journal.wait_for(found, TIMEOUT_S, f"dead letter number {count}")


async def test_list_and_show(world: LocalWorld) -> None:
    invocation, garbage, malformed, dispatch = await buried(world)

    assert await listed(world) == [dispatch, malformed, garbage, invocation]
    assert await listed(world, "--source", "dispatch", "--pool", POOL) == [dispatch, malformed]
    assert await listed(world, "--pool", "unknown") == [garbage]
    assert await listed(world, "--limit", "1") == [dispatch]
    ended = await dlq(world, "list")
    rows = [line.split() for line in ended.out.decode().splitlines()]
    assert [(row[0], *row[3:7]) for row in rows] == [
        (str(dispatch), "dispatch", POOL, "order-2", "dispatch_error:"),
        (str(malformed), "dispatch", POOL, "order-3", "malformed_message:"),
        (str(garbage), "invocation", "unknown", "-", "malformed_message:"),
        (str(invocation), "invocation", POOL, "order-1", "malformed_message:"),
    ]

    ended = await dlq(world, "show", str(invocation))
    assert (ended.code, ended.err) == (0, "")
    for text in ("malformed_message", "timeoutSeconds", "no retry", "runtime.serverless.invoke.sd-webui", '"n": 1.5'):
        assert text in ended.out.decode()
    assert (await dlq(world, "show", str(invocation), "--payload")).out == MALFORMED_INVOCATION
    assert (await dlq(world, "show", str(garbage), "--payload")).out == GARBAGE
    assert json.loads((await dlq(world, "show", str(dispatch), "--json")).out)["retryable"]
    ended = await dlq(world, "show", "1")  # a message, but no dead letter
    assert (ended.code, ended.out) == (1, b"")
    assert "dead_letter_not_found" in ended.err


async def test_retry_and_drop(world: LocalWorld) -> None:
    invocation, garbage, malformed, dispatch = await buried(world)

    # One refusal does not keep the others from being done.
    ended = await dlq(world, "retry", str(invocation), str(dispatch), "--json")
    assert ended.code == 1
    assert f"dead letter {invocation}: cannot be queued again" in ended.err
    refused, receipt = json.loads(ended.out)
    assert (refused["deadLetter"], refused["error"]["code"]) == (invocation, "not_retryable")
    new_id = f"retry-{dispatch}-order-2"
    assert (receipt["deadLetter"], receipt["invocationID"], receipt["mode"]) == (dispatch, new_id, "async")
    result = await world.result_of(new_id)
    assert (result.state, result.status_code, result.worker_name) == ("succeeded", 200, WORKER)
    assert json.loads(bytes(result.body))["payload"] == {"prompt": "a robot"}
    [queued] = [each for each in world.journal.of_type(InvocationMessage) if each.invocation_id == new_id]
    assert (queued.mode, queued.reply_subject, queued.state) == ("async", "", "queued")
    [failed] = world.results_of("order-2")
    assert failed.failure_class == "dispatch_error"
    ended = await dlq(world, "retry", str(dispatch))
    assert (ended.code, ended.out) == (1, b"")
    assert "dead_letter_not_found" in ended.err

    ended = await dlq(world, "drop", str(invocation))
    assert ended.code == 2
    assert "--yes" in ended.err
    assert await listed(world) == [malformed, garbage, invocation]
    ended = await dlq(world, "drop", str(invocation), "1", "--yes")
    assert (ended.code, ended.out.decode()) == (1, f"{invocation} dropped\n")
    assert "dead letter 1: " in ended.err
    assert (await dlq(world, "drop", "--all", "--pool", "others", "--yes")).out == b"no dead letters\n"
    assert (await dlq(world, "drop", "--all", "--yes", "--json")).out == b'{"dropped": 2}\n'
    assert (await dlq(world, "list")).out == b"no dead letters\n"


async def test_the_commands_of_the_page(world: LocalWorld, tmp_path: Path) -> None:
    """Those blocks of docs/dead-letters.md that need dead letters, as a reader would run them."""
    invocation, _, _, dispatch = await buried(world)
    page = (ROOT / "docs" / "dead-letters.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh dead-letter\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    code = "".join(blocks).replace("118", str(invocation)).replace("120", str(dispatch))
    url = world.platform.api_url
    ended = await execute(
        "bash", "-euo", "pipefail", "-c", code.replace("http://127.0.0.1:8080", url), url=url, directory=tmp_path
    )
    assert (ended.code, ended.err) == (0, "")
    for text in (f"dead letter {invocation}\n", f"retry-{dispatch}-order-2", f"{invocation} dropped\n"):
        assert text in ended.out.decode()
    result = await world.result_of("order-1-corrected")
    assert (result.state, json.loads(bytes(result.body))["payload"]) == ("succeeded", {"n": 1.5})
