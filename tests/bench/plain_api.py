"""The runtime API as one writes it first: `python -m tests.bench.plain_api`, settings as the plain sidecar's.

aiohttp.web and nats-py as their documentation shows them, the standard library's JSON and event loop. A sync call
listens on an inbox of its own, as contract 4.3 tells it; an async one is answered when it is stored. It does without
what makes an API sound: checks, limits, a look at what became of a call, taking it back.
"""

import json
import os
import uuid
from collections.abc import AsyncIterator
from typing import Any

import nats
from aiohttp import web

from tests.bench.plain_sidecar import now

REPLY_WAIT_S = 60.0


class Api:
    """The one route, and the connection behind it."""

    def __init__(self, nats_url: str, prefix: str) -> None:
        self._url = nats_url
        self._prefix = prefix
        self._client: Any = None
        self._jetstream: Any = None

    async def connection(self, _app: web.Application) -> AsyncIterator[None]:
        self._client = await nats.connect(self._url)
        self._jetstream = self._client.jetstream()
        yield
        await self._client.close()

    async def invoke(self, request: web.Request) -> web.Response:
        call = await request.json()
        pool, mode = call["serverlessRequestID"], call.get("mode", "async")
        invocation = {
            "version": "v1",
            "invocationID": call.get("invocationID") or f"inv-{uuid.uuid4().hex}",
            "serverlessRequestID": pool,
            "mode": mode,
            "state": "queued",
            "contentType": "application/json",
            "payload": call["payload"],
            "timeoutSeconds": call.get("timeoutSeconds", 30),
            "resultSubject": f"{self._prefix}.result.{pool}",
            "metricsSubject": f"{self._prefix}.metrics.{pool}",
            "enqueuedAt": now(),
        }
        if mode == "sync":
            return web.json_response({"data": await self.result_of(invocation)})
        stored = await self.store(invocation)
        receipt = {name: invocation[name] for name in ("invocationID", "serverlessRequestID", "mode")}
        return web.json_response({"data": receipt | {"sequence": stored.seq}}, status=202)

    async def result_of(self, invocation: dict[str, Any]) -> Any:
        inbox = self._client.new_inbox()
        replies = await self._client.subscribe(inbox)
        await self.store(invocation | {"replySubject": inbox})
        reply = await replies.next_msg(timeout=REPLY_WAIT_S)
        await replies.unsubscribe()
        return json.loads(reply.data)

    async def store(self, invocation: dict[str, Any]) -> Any:
        subject = f"{self._prefix}.invoke.{invocation['serverlessRequestID']}"
        headers = {"Nats-Msg-Id": f"invoke-{invocation['invocationID']}"}
        return await self._jetstream.publish(subject, json.dumps(invocation).encode(), headers=headers)


def main() -> None:
    """Serve until SIGTERM."""
    env = {name.removeprefix("SERVERLESS_"): value for name, value in os.environ.items()}
    api = Api(env["NATS_URL"], env["SUBJECT_PREFIX"])
    app = web.Application()
    app.cleanup_ctx.append(api.connection)
    app.router.add_post("/api/v1/serverless/invocations", api.invoke)
    web.run_app(app, host="127.0.0.1", port=int(env["API_PORT"]), print=None)


if __name__ == "__main__":
    main()
