"""A sidecar that registers, says that it lives, and never takes a dispatch: one with a fault that nobody foresaw."""

import asyncio

from sidecar.__main__ import main
from sidecar.dispatch import DispatchLoop


async def takes_nothing(_loop: DispatchLoop) -> None:
    await asyncio.Event().wait()


setattr(DispatchLoop, "_feed", takes_nothing)  # noqa: B010 - mypy takes a method for a constant
setattr(DispatchLoop, "alive", True)  # noqa: B010

if __name__ == "__main__":
    main()
