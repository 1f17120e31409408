"""A framework as a program that dies on command: `python -m tests.proof.crashing_framework SOCKET SEED`.

Each run is one line on stdout, written before anything else happens: the invocation's ID and the process ID of the
sidecar that asked for it. A payload with `crash` then ends the process.
"""

import asyncio
import contextlib
import json
import os
import random
import socket
import struct
import sys
from pathlib import Path
from typing import Final

from tests.proof.scripted_framework import http_answer, http_request

LONGEST_RUN_S: Final = 0.02


def _peer_pid(writer: asyncio.StreamWriter) -> int:
    """The process at the other end of a unix socket."""
    credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, runs_s: random.Random) -> None:
    caller = _peer_pid(writer)
    with contextlib.suppress(ConnectionError):
        while (request := await http_request(reader)) is not None:
            method, body = request
            answer: dict[str, object] = {"ok": True}
            if method == b"POST":
                invocation = json.loads(body)
                os.write(1, f"{invocation['invocationID']} {caller}\n".encode())
                if invocation["payload"].get("crash"):
                    os._exit(1)
                await asyncio.sleep(runs_s.uniform(0, LONGEST_RUN_S))
                answer = {"body": {"ranFor": invocation["invocationID"]}}
            writer.write(http_answer(json.dumps(answer).encode()))
            await writer.drain()
    writer.close()


async def _main(socket_path: str, seed: int) -> None:
    runs_s = random.Random(seed)
    async with await asyncio.start_unix_server(lambda r, w: _serve(r, w, runs_s), socket_path) as server:
        await server.serve_forever()


if __name__ == "__main__":
    Path(sys.argv[1]).unlink(missing_ok=True)
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
