"""A framework that ends while somebody connects closes whom it accepted."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from framework.app import create_app
from framework.server import serving
from tests.left_open import left_open_by_turn


def test_framework_that_ends_while_somebody_connects(socket_directory: Path) -> None:
    path = str(socket_directory / "framework.sock")

    async def scenario(begin: Callable[[], None]) -> None:
        async with serving(create_app(lambda call: call), path) as loading:
            await loading
            begin()
            _, writer = await asyncio.open_unix_connection(path)
            writer.close()

    assert left_open_by_turn(scenario) == {}
