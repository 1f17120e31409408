"""Connecting to NATS, staying connected, and closing without delay, on top of nats-py (S22, S26)."""

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import nats.errors
import structlog
from nats.aio.client import DEFAULT_INBOX_PREFIX, RawCredentials

from sidecar.nats_client import LeanClient
from sidecar.queue_errors import QueueRefusedError, QueueUnavailableError, ended

CONNECT_TIMEOUT_S: Final = 5.0
RECONNECT_WAIT_S: Final = (0.05, 0.25)
"""Each process picks its own wait in this range, so that a restarted server is not met by all at the same instant."""
REFUSALS_APART_S: Final = 30.0
"""nats-py tries refused credentials again several times a second; the log says so once in this time."""
DEFAULT_INBOXES: Final = DEFAULT_INBOX_PREFIX.decode()

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A NATS identity: the user's JWT and the seed that signs for it, in the form of a `.creds` file."""

    text: str = field(repr=False)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a `.creds` file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is not such a file.
        """
        text = path.read_text(encoding="ascii")
        if "BEGIN NATS USER JWT" not in text or "BEGIN USER NKEY SEED" not in text:
            raise ValueError("a user's JWT and the seed of its key must be in it")
        return cls(text)


@dataclass(frozen=True, slots=True)
class Access:
    """How to get in: an identity, TLS settings, and the prefix of the inboxes that the identity may listen to."""

    credentials: Credentials | None = None
    tls: ssl.SSLContext | None = None
    inbox_prefix: str = DEFAULT_INBOXES


def redact_url(url: str) -> str:
    """The URL without user, password and token, for logs and messages."""
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{host}:{parts.port or 4222}"
    except ValueError:
        return "(unreadable URL)"


class _Watch:
    """What nats-py tells of a connection, for the log and for who waits."""

    def __init__(self, client: LeanClient, server: str, on_restored: Callable[[], None]) -> None:
        self._client = client
        self._server = server
        self._on_restored = on_restored
        self._warn_at = 0.0
        self.refusal = ""
        """Why the server did not accept the credentials, when it last said so."""

    async def lost(self) -> None:
        if not self._client.is_closed:  # nats-py calls this at an orderly end too
            log.warning("queue connection lost", server=self._server)

    async def restored(self) -> None:
        log.info("queue connection restored", server=self._server)
        self._on_restored()

    async def note(self, error: Exception) -> None:
        text = str(error)
        if "permissions violation" in text.lower():
            log.warning("refused by the server's permissions", server=self._server, error=text)
        elif "authorization" in text.lower() or "authentication" in text.lower():
            self.refusal = text  # nats-py tries again, which can help: an identity may become known later
            if time.monotonic() >= self._warn_at:
                self._warn_at = time.monotonic() + REFUSALS_APART_S
                log.warning("the server does not accept these credentials", server=self._server, error=text)
        else:
            log.debug("queue connection error", server=self._server, error=type(error).__name__)


async def connected_client(
    url: str, client_name: str, timeout_s: float | None, access: Access, on_restored: Callable[[], None]
) -> LeanClient:
    """Connect, trying again until `timeout_s` seconds passed (None: for ever).

    `on_restored` is called whenever a lost connection is back.

    Raises:
        QueueUnavailableError: no connection in time; the message names the server without credentials.
        QueueRefusedError: the credentials were refused, until the end.
    """
    client, server = LeanClient(), redact_url(url)
    watch = _Watch(client, server, on_restored)
    connecting = asyncio.create_task(
        client.connect(
            url,
            name=client_name,
            connect_timeout=int(CONNECT_TIMEOUT_S),
            max_reconnect_attempts=-1,
            # nats-py sleeps this long before every second attempt, at first connect too: its 2 s would show.
            reconnect_time_wait=random.uniform(*RECONNECT_WAIT_S),  # type: ignore[arg-type]  # noqa: S311 - jitter; seconds, fractions work
            disconnected_cb=watch.lost,
            reconnected_cb=watch.restored,
            error_cb=watch.note,
            user_credentials=RawCredentials(access.credentials.text) if access.credentials else None,
            tls=access.tls,
            inbox_prefix=access.inbox_prefix,
            skip_subject_validation=True,  # they are ours, or checked: `sidecar.subjects`
        )
    )
    handed_over = False
    try:
        await asyncio.wait([connecting], timeout=timeout_s)
        if connecting.done():
            connecting.result()
            handed_over = True
            return client
        if watch.refusal:
            raise QueueRefusedError(f"NATS server {server} refused the connection: {watch.refusal}")
        raise QueueUnavailableError(f"no NATS server answered at {server} within {timeout_s:g} s")
    except nats.errors.Error as error:
        raise QueueRefusedError(f"NATS server {server} refused the connection: {error}") from error
    finally:
        if not handed_over:  # a cancellation can come when the client is connected, but nobody's yet
            try:
                await ended(connecting)
            finally:
                await close(client)


async def close(client: LeanClient) -> None:
    """Flush what was sent and close; a dead connection must not hold up the end of the program.

    A cancellation ends the flush, not the close.
    """
    try:
        with suppress(nats.errors.Error, TimeoutError, OSError):
            if client.is_connected:
                await client.flush(timeout=1)
    finally:
        with suppress(nats.errors.Error, OSError):
            await client.close()
