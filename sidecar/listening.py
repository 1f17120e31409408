"""Ending a server of asyncio's without losing whom it has just accepted."""

import asyncio


async def stop_listening(server: asyncio.Server) -> None:
    """Close the server; whoever was accepted before has reached its protocol when this returns.

    asyncio accepts in one turn of the loop and makes the transport in the next. A connection whose server is closed in
    between it forgets, without closing the socket (python/cpython#109564). So the server stops accepting first, and is
    closed one turn later.
    """
    loop = server.get_loop()
    try:
        for listener in server.sockets:
            loop.remove_reader(listener.fileno())
        await asyncio.sleep(0)  # transports are made
    finally:
        server.close()
    await asyncio.sleep(0)  # protocols are told
