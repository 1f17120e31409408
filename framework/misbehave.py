"""`python -m framework.misbehave`: a framework that does wrong what each call's attributes ask for.

It is for those who test the other side: a sidecar, a platform. Without attributes it is the echo framework.
"""

import asyncio
import os
import resource
from typing import Final

from aiohttp import web

from framework.app import State, build_app, json_response
from framework.calls import Calls
from framework.connection import RefusedError
from framework.contract import InvocationRequest
from framework.echo import echo
from framework.misbehaviour import Script, ScriptError, body_of, http_bytes, parse_script
from framework.readiness import Readiness
from framework.server import run_app

_NO_CORE_FILE: Final = (0, 0)


class Misbehaviour:
    """Follows the calls' scripts; what they share is the health of the whole program."""

    def __init__(self) -> None:
        self._unhealthy_until = 0.0

    async def healthy(self) -> bool:
        """Whether no script wants it to be unhealthy."""
        return asyncio.get_running_loop().time() >= self._unhealthy_until

    async def respond(self, request: web.Request, call: InvocationRequest) -> web.Response:
        """Do what the call's attributes say.

        Raises:
            RefusedError: they are wrong.
        """
        try:
            script = parse_script(call.attributes)
        except ScriptError as error:
            raise RefusedError(400, str(error)) from error
        self._unhealthy_until = max(self._unhealthy_until, asyncio.get_running_loop().time() + script.unhealthy)
        await _wait(script)
        if script.crash:
            resource.setrlimit(resource.RLIMIT_CORE, _NO_CORE_FILE)
            os.abort()
        if script.exit_code is not None:
            os._exit(script.exit_code)
        body = body_of(script, await echo(call))
        if script.breaks_http and request.transport is not None:
            await _send(request.transport, script, body)
        return json_response(body, status=script.bad_status)


def create_misbehaving_app(*, invoke_path: str, health_path: str) -> web.Application:
    """Make the application, for `framework.server.serving` or `run_app`."""
    misbehaviour = Misbehaviour()
    state = State(Calls(None), Readiness(misbehaviour))
    return build_app(state, misbehaviour.respond, invoke_path=invoke_path, health_path=health_path)


async def _wait(script: Script) -> None:
    """Wait as long as scripted; with `ignore_cancel` also when nobody waits for the answer any more."""
    waiting = asyncio.ensure_future(asyncio.Event().wait() if script.hang else asyncio.sleep(script.delay))
    while not waiting.done():
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if not script.ignore_cancel:
                waiting.cancel()
                raise


async def _send(transport: asyncio.WriteTransport, script: Script, body: bytes) -> None:
    """Write the bytes past aiohttp and close: what aiohttp writes afterwards goes nowhere."""
    head, rest = http_bytes(script, body)
    for start in range(len(head) if script.slow_headers else 0):
        transport.write(head[start : start + 1])
        await asyncio.sleep(script.slow_headers / len(head))
    transport.write(rest if script.slow_headers else head + rest)
    transport.close()


if __name__ == "__main__":
    run_app(create_misbehaving_app, os.environ)
