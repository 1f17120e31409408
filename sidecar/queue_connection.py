"""Connecting to NATS, staying connected, and closing without delay, on top of nats-py."""

import asyncio
import random
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import nats.errors
import structlog
from nats.aio.client import Client

from sidecar.queue_errors import CancellationKept, QueueRefusedError, QueueUnavailableError

CONNECT_TIMEOUT_S: Final = 5.0
RECONNECT_WAIT_S: Final = (0.05, 0.25)
"""Each process picks its own wait in this range, so that a restarted server is not met by all at the same instant."""

log = structlog.get_logger(__name__)


def redact_url(url: str) -> str:
    """The URL without user, password and token, for logs and messages."""
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{host}:{parts.port or 4222}"
    except ValueError:
        return "(unreadable URL)"


async def connected_client(url: str, client_name: str, timeout_s: float | None) -> Client:
    """Connect, trying again until `timeout_s` seconds passed (None: for ever).

    Raises:
        QueueUnavailableError: no connection in time; the message names the server without credentials.
        QueueRefusedError: the credentials were refused.
    """
    client = Client()

    async def lost() -> None:
        if not client.is_closed:  # nats-py calls this at an orderly end too
            log.warning("queue connection lost", server=redact_url(url))

    async def restored() -> None:
        log.info("queue connection restored", server=redact_url(url))

    async def note(error: Exception) -> None:
        log.debug("queue connection error", server=redact_url(url), error=type(error).__name__)

    try:
        async with asyncio.timeout(timeout_s):
            with CancellationKept():
                await client.connect(
                    url,
                    name=client_name,
                    connect_timeout=int(CONNECT_TIMEOUT_S),
                    max_reconnect_attempts=-1,
                    # nats-py sleeps this long before every second attempt, at first connect too: its 2 s would show.
                    reconnect_time_wait=random.uniform(*RECONNECT_WAIT_S),  # type: ignore[arg-type]  # noqa: S311 - jitter; seconds, fractions work
                    disconnected_cb=lost,
                    reconnected_cb=restored,
                    error_cb=note,
                )
    except TimeoutError as error:
        await close(client)
        raise QueueUnavailableError(f"no NATS server answered at {redact_url(url)} within {timeout_s:g} s") from error
    except nats.errors.Error as error:
        await close(client)
        raise QueueRefusedError(f"NATS server {redact_url(url)} refused the connection: {error}") from error
    except BaseException:
        await close(client)
        raise
    return client


async def close(client: Client) -> None:
    """Flush what was sent and close; a dead connection must not hold up the end of the program."""
    with suppress(nats.errors.Error, TimeoutError, OSError):
        if client.is_connected:
            await client.flush(timeout=1)
    with suppress(nats.errors.Error, OSError):
        await client.close()
