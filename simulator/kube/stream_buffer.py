"""A bounded stretch of a stream: between who reads a connection and who takes the bytes of this stream."""

import asyncio
from collections import deque
from typing import Final

LIMIT_BYTES: Final = 1 << 16
STALL_S: Final = 30.0
"""How long a connection stands still for one of its streams that nobody takes from."""


class StreamBuffer:
    """Bytes in their order. Who puts in waits while more than `LIMIT_BYTES` are there."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._filled = asyncio.Event()
        self._room = asyncio.Event()

    async def put(self, data: bytes) -> None:
        """Add bytes, unless the stream has ended, and wait for room for more.

        Raises:
            TimeoutError: nobody has taken any for `STALL_S`.
        """
        if self._ended or not data:
            return
        self._chunks.append(data)
        self._size += len(data)
        self._filled.set()
        while self._size > LIMIT_BYTES and not self._ended:
            self._room.clear()
            async with asyncio.timeout(STALL_S):
                await self._room.wait()

    async def get(self) -> bytes:
        """The next bytes; empty at the end."""
        while not self._chunks:
            if self._ended:
                return b""
            self._filled.clear()
            await self._filled.wait()
        chunk = self._chunks.popleft()
        self._size -= len(chunk)
        self._room.set()
        return chunk

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._filled.set()
        self._room.set()

    def drop(self) -> None:
        """Nothing more comes, and nobody wants what is there."""
        self._chunks.clear()
        self._size = 0
        self.end()
