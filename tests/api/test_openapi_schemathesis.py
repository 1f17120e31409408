"""The live API answers as documented: every documented answer to a request made for it, any other to schemathesis."""

import asyncio
import io
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest
from jsonschema import Draft202012Validator

from sidecar.messages import (
    DeadLetterMessage,
    FailureClass,
    InvocationMessage,
    InvocationResultMessage,
    Source,
    State,
    decode,
    encode,
    utc_now,
)
from sidecar.queue import Queue
from simulator.api.app import ApiServer
from simulator.api.openapi import FILE, document
from simulator.api.openapi_operations import FAULT, OPERATIONS
from simulator.api.settings import ApiSettings
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.jetstream.bucket import INVOCATIONS, BucketSettings, ensure_bucket
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.nats_server import NatsServer
from simulator.processes.spawn import Processes
from tests.api.openapi_steps import IDLE, TEAPOT, Step, dead_letter_steps, invocation_steps, others, unit_steps

pytestmark = pytest.mark.e2e

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
NEEDS_MORE_THAN_A_REQUEST = {
    ("updateUnit", 409),  # five writers in a row that were quicker
    ("retryDeadLetter", 200),  # a retry that was interrupted half-way
}
DOCUMENT = document()
PATHS = DOCUMENT["paths"]
BY_NAME = {operation.name: operation for operation in OPERATIONS}


@dataclass(frozen=True)
class World:
    """Three servers: a whole one, one that knows the pools, and one without cluster and queue."""

    whole: str
    strict: str
    bare: str
    queue: Queue


async def work(queue: Queue) -> None:
    """Answer every invocation with its own payload, as an activator and its workers would."""
    waiting: asyncio.Queue[bytes] = asyncio.Queue()
    await queue.hear(queue.subjects.invoke("*"), lambda _subject, body: waiting.put_nowait(body))
    while True:
        call = decode(await waiting.get(), InvocationMessage)
        if call.serverless_request_id == IDLE:
            continue
        result = InvocationResultMessage(
            invocation_id=call.invocation_id,
            serverless_request_id=call.serverless_request_id,
            mode=call.mode,
            state=State.SUCCEEDED,
            status_code=418 if call.serverless_request_id == TEAPOT else 200,
            body=call.payload,
            completed_at=utc_now(),
        )
        subject = queue.subjects.result(call.serverless_request_id)
        await queue.publish(subject, encode(result), message_id=f"result-{call.invocation_id}")
        if call.reply_subject:
            await queue.send(call.reply_subject, encode(result))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(Processes())
        nats = await stack.enter_async_context(NatsServer(processes, tmp_path / "nats"))
        queue = await stack.enter_async_context(Queue.connect(nats.url, client_name="test"))
        await queue.ensure_stream()
        await ensure_bucket(queue, BucketSettings(INVOCATIONS))
        kube = await stack.enter_async_context(KubeServer(ResourceStore()))
        kube.write_kubeconfig(tmp_path / "kubeconfig")
        cluster = await stack.enter_async_context(Cluster(tmp_path / "kubeconfig", field_manager="test"))
        units = Informer(cluster, GPUUNIT, ACTIVE_NAMESPACE)
        strict = ApiSettings(require_pool=True)
        servers = (
            ApiServer(cluster, queue),
            ApiServer(cluster, queue, settings=strict, units=units),
            ApiServer(None, None),
        )
        for server in servers:
            await stack.enter_async_context(server)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part) for part in (work(queue), units.run())]
            whole, known, bare = (server.url for server in servers)
            yield World(whole, known, bare, queue)
            for task in running:
                task.cancel()


async def bury(queue: Queue, payload: bytes) -> str:
    """Store the dead letter of an invocation; returns its sequence."""
    letter = DeadLetterMessage(
        source=Source.INVOCATION,
        serverless_request_id="tts",
        failure_class=FailureClass.RETRY_EXHAUSTED,
        original_subject=queue.subjects.invoke("tts"),
        error="given up",
        payload=msgspec.Raw(payload),
        failed_at=utc_now(),
    )
    return str((await queue.publish(queue.subjects.dead_letter(letter.source, "tts"), encode(letter))).sequence)


async def take(session: aiohttp.ClientSession, world: World, step: Step) -> list[str]:
    """Make a request; returns what of its answer is not as documented."""
    operation = BY_NAME[step.operation]
    path = re.sub(r"{(\w+)}", lambda name: step.path[name[1]], operation.path)
    url = f"{getattr(world, step.server)}{path}"
    content = None if step.body is None else io.BytesIO(msgspec.json.encode(step.body))
    headers = {"Content-Type": "application/json"} | step.headers if content else step.headers
    method = operation.method.upper()
    async with session.request(method, url, params=step.query, data=content, headers=headers) as answer:
        body = await answer.json() if answer.status != 204 else None
        status, content_type = answer.status, answer.content_type if body is not None else ""
    where = f"{step.operation} {step.status}"
    if status != step.status:
        return [f"{where}: answered with {status} {body}"]
    responses = PATHS[operation.path][operation.method]["responses"]
    described = responses.get(str(status), responses.get("default", {}))
    problems = [
        f"{where}: no header {name}"
        for name, header in described.get("headers", {}).items()
        if header["required"] and name not in answer.headers
    ]
    documented = described.get("content", {})
    if list(documented) != ([content_type] if content_type else []):
        return [*problems, f"{where}: answered with {content_type or 'no body'}"]
    for media in documented.values():
        validator = Draft202012Validator({**media["schema"], "components": DOCUMENT["components"]})
        problems += [f"{where}: {error.json_path}: {error.message}" for error in validator.iter_errors(body)]
    return problems


async def test_every_documented_answer_is_given_and_is_as_documented(world: World) -> None:
    invocation = encode(InvocationMessage(invocation_id="lost", serverless_request_id="tts"))
    good, bad = [await bury(world.queue, payload) for payload in (invocation, b'"no invocation"')]
    steps = [*unit_steps(), *invocation_steps(), *dead_letter_steps(good, bad), *others()]
    async with aiohttp.ClientSession() as session:
        problems = [problem for step in steps for problem in await take(session, world, step)]
    assert problems == []
    given = {(step.operation, step.status) for step in steps} - {("invoke", 418)}
    documented = {(each.name, status.value) for each in OPERATIONS for status in (*each.successes, *each.failures)}
    faults = {(each.name, FAULT.value) for each in OPERATIONS if FAULT in each.failures}
    assert given == documented - faults - NEEDS_MORE_THAN_A_REQUEST


@pytest.mark.timeout(120)
async def test_schemathesis_finds_no_undocumented_answer(world: World, tmp_path: Path) -> None:
    await bury(world.queue, b"null")
    arguments = ["run", str(FILE), "--url", world.whole, "--checks", ",".join(CHECKS), "--no-color"]
    arguments += ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "15"]
    arguments += ["--generation-deterministic", "--request-timeout", "20"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", *arguments),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(100):
            output = (await process.communicate())[0].decode()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, output
    assert f"Tested: {len(OPERATIONS)}" in output
