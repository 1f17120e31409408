"""What the loop that our programs run on says of failures that nobody caught."""

import asyncio
import gc
import logging
import socket

import pytest

from sidecar.event_loop import loop_factory

uvloop = pytest.importorskip("uvloop")


async def connect_and_give_up() -> None:
    """Give up a connect while its lookup is under way, which then fails."""
    loop = asyncio.get_running_loop()
    # Not a number, where it has to be one: the lookup fails without a DNS.
    connecting = loop.create_connection(asyncio.Protocol, "no-number", 4222, flags=socket.AI_NUMERICHOST)
    task = asyncio.ensure_future(connecting)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    with pytest.raises(socket.gaierror):
        await loop.getaddrinfo("no-number", 4222, flags=socket.AI_NUMERICHOST)  # done after the other one
    gc.collect()


def test_a_lookup_that_fails_when_nobody_waits_any_more_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(connect_and_give_up())
    told = [record for record in caplog.records if "lookup" in record.message]
    assert [(record.levelno, record.exc_info) for record in told] == [(logging.DEBUG, None)]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_any_other_failure_that_nobody_caught_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        asyncio.get_running_loop().create_future().set_exception(OSError("reset"))
        gc.collect()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(fail())
    [record] = caplog.records
    assert (record.levelno, "never retrieved" in record.message) == (logging.ERROR, True)
