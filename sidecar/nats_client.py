"""nats-py's connection with two short cuts, for the few calls that make up nearly all of a sidecar's work.

nats-py keeps what it is good at: TLS, identities, reconnecting, resubscribing, flushing. But each of its publishes
passes five coroutines, and each received message a queue and a task. Here a frame is one append to nats-py's own output
buffer, and a message on an inbox of ours is one call of a function. That takes two thirds off the time per message.

This is the one place that knows nats-py's inside; the tests in `tests/sidecar/test_nats_client.py` hold it to that.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.protocol.parser import AWAITING_CONTROL_LINE, PERMISSIONS_ERR, STALE_CONNECTION, Parser

from sidecar.queue_errors import MessageTooLargeError, QueueUnavailableError, ended

NO_BYTES: Final = b""

Receive = Callable[[bytes, bytes, bytes, bytes], None]
"""Takes subject, reply subject, body and raw headers of a message."""


class LeanParser(Parser):
    """nats-py's parser, passed by for the messages that somebody hears; it gets whatever else there is."""

    def __init__(self, client: "LeanClient") -> None:
        super().__init__(client)
        self._receivers = client.receivers

    async def parse(self, data: bytes = b"") -> None:
        """Called by nats-py with what was read."""
        if self.state == AWAITING_CONTROL_LINE:
            if self.buf:
                data = bytes(self.buf) + data
                self.buf.clear()
            done, incomplete = self._heard(data)
            data = data[done:]
            if incomplete:
                self.buf.extend(data)
                return
        if data:
            await super().parse(data)

    def _heard(self, data: bytes) -> tuple[int, bool]:
        """Hand out the heard messages that `data` begins with; return their length, and whether half a one follows."""
        at = 0
        while data.startswith((b"MSG ", b"HMSG "), at):
            line_end = data.find(b"\r\n", at)
            if line_end < 0:
                return at, True
            # MSG subject sid [reply] size, or HMSG subject sid [reply] headers-size size
            fields = data[at:line_end].split()
            receive = self._receivers.get(int(fields[2]))
            if receive is None:
                return at, False
            with_headers = fields[0] == b"HMSG"
            start = line_end + 2
            end = start + int(fields[-1])
            if end + 2 > len(data):
                return at, True
            body = start + int(fields[-2]) if with_headers else start
            reply = fields[3] if len(fields) == (6 if with_headers else 5) else NO_BYTES
            receive(fields[1], reply, data[body:end], data[start:body])
            at = end + 2
        return at, False


class LeanClient(Client):
    """A NATS client that can also `write` a message at once, and `hear` messages at once."""

    def __init__(self) -> None:
        super().__init__()
        self.receivers: dict[int, Receive] = {}
        """Who hears which subscription, by its number."""
        self._ps = LeanParser(self)

    def write(self, subject: str, body: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Publish in the loop's next turn; while the connection is lost, when it is back.

        Subject, reply and headers go out as they are: they must be checked already.

        Raises:
            ValueError: a header holds a line break.
            MessageTooLargeError: larger than the server's `max_payload`.
            QueueUnavailableError: the connection is closed, or lost for so long that the buffer is full.
        """
        if headers:
            lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
            if lines.count("\n") != len(headers):
                raise ValueError("a header must not hold a line break")
            head = f"NATS/1.0\r\n{lines}\r\n".encode()
            size = len(head) + len(body)
            control = f"HPUB {subject} {reply} {len(head)} {size}\r\n"
            frame = b"".join((control.encode(), head, body, b"\r\n"))
        else:
            size = len(body)
            frame = b"".join((f"PUB {subject} {reply} {size}\r\n".encode(), body, b"\r\n"))
        if size > self._max_payload:
            raise MessageTooLargeError(f"a message to {subject} has {size} bytes, the server takes {self._max_payload}")
        connected = self.is_connected
        if not connected and (self.is_closed or self.is_draining):
            raise QueueUnavailableError(f"cannot publish to {subject}: the connection is closed")
        if not connected and self._pending_data_size + len(frame) > self._max_pending_size:
            raise QueueUnavailableError(f"cannot publish to {subject}: the connection is lost, the buffer is full")
        self._pending.append(frame)
        self._pending_data_size += len(frame)
        # Whoever wrote the first frame of the buffer has asked for the flush.
        if connected and len(self._pending) == 1 and self._flush_queue is not None:
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    async def hear(self, subject: str, receive: Receive) -> int:
        """Have `receive` called with each message on a subject, in the turn of the loop in which it is read.

        Returns the subscription's number, for `unhear`. It survives the loss of the connection.

        Raises:
            nats.errors.Error: the connection is closed.
        """
        # A subscription with a future gets neither queue nor task; the future itself is never used.
        subscription = await self.subscribe(subject, future=asyncio.get_running_loop().create_future())
        number: int = subscription._id  # noqa: SLF001 - known to nats-py's parser by this number only
        self.receivers[number] = receive
        return number

    async def settle(self) -> None:
        """Return when the server has taken in all that was written before.

        Raises:
            nats.errors.Error: the connection is lost or closed.
        """
        await self.flush()  # its PING goes ahead of what waits to be written,
        await self.flush()  # this one's comes behind it

    async def unhear(self, number: int) -> None:
        """End a subscription of `hear`; what the server sent before it heard of this still arrives.

        Raises:
            nats.errors.Error: the connection is lost or closed.
        """
        try:
            await self._send_unsubscribe(number)
            await self.settle()
        finally:
            self.receivers.pop(number, None)
            self._subs.pop(number, None)

    async def _process_err(self, err_msg: str) -> None:
        """Called by nats-py when the server complains.

        It would close the client for good for all but two complaints. Ours reconnects, for ever (S26): credentials that
        are refused now may be known later, and a limit that was reached may be raised.
        """
        if PERMISSIONS_ERR in err_msg or STALE_CONNECTION in err_msg:
            await super()._process_err(err_msg)
            return
        error = nats.errors.Error(f"nats: {err_msg}")
        await self._error_cb(error)
        await self._process_op_err(error)

    async def _process_pong(self) -> None:
        """Called by nats-py's parser for each PONG.

        Nobody waits any more for that of a flush that was given up: nats-py's reader would end with a traceback of an
        InvalidStateError, and the client be deaf from then on.
        """
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _attempt_reconnect(self) -> None:
        """Called by nats-py, as a task, when the connection is lost.

        An attempt that is cancelled for the next one can mark that one's future instead of its own. When that is
        cancelled in turn it marks its future once more, the last that it does, and would end with a traceback.
        """
        try:
            await super()._attempt_reconnect()
        except asyncio.InvalidStateError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                raise

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        """Called by nats-py after what it writes itself.

        A connection can be dead before nats-py's reader has noticed. Then uvloop's transport raises a RuntimeError, for
        which nothing is prepared. What is in the buffer goes out when the connection is back.
        """
        try:
            return await super()._flush_pending(force_flush)
        except RuntimeError:
            if self._is_writable():
                raise
            return None

    async def _connect_to_server(self, server: Any) -> None:
        """Called by nats-py for each attempt.

        It forgets, without closing it, the connection of an attempt to reconnect that failed once the server had
        accepted it.
        """
        self._abort()
        await super()._connect_to_server(server)

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """Called by nats-py at the end, orderly or not."""
        try:
            reconnecting = self._reconnection_task
            if reconnecting is not None and reconnecting is not asyncio.current_task():
                await ended(reconnecting)  # on Python 3.11 one cancellation may be lost in it, and it connects for ever
            if not self._is_writable():
                self._pending.clear()  # nobody takes it any more
                self._pending_data_size = 0
            await super()._close(status, do_cbs)
        except asyncio.CancelledError:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """End at once what a cancelled close has not ended.

        nats-py sets itself closed before it closes anything, so that a second close would do nothing.
        """
        self._status = Client.CLOSED
        for task in (self._reconnection_task, self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        self._abort()

    def _abort(self) -> None:
        writer = self._writer()
        if writer is not None:
            writer.transport.abort()

    def _is_writable(self) -> bool:
        writer = self._writer()
        return self.is_connected and writer is not None and not writer.is_closing()

    def _writer(self) -> asyncio.StreamWriter | None:
        """That of the connection made last, open or closed."""
        return getattr(self._transport, "_io_writer", None)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """Called by nats-py's parser for each message."""
        receive = self.receivers.get(sid)
        if receive is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            receive(subject, reply, data, headers or NO_BYTES)


def parse_headers(raw: bytes) -> dict[str, str]:
    """Read raw NATS headers; a first line such as `NATS/1.0 408 Request Timeout` becomes `Status`, `Description`."""
    if not raw:
        return {}
    first, *lines = raw.decode(errors="replace").split("\r\n")
    headers = {}
    for line in lines:
        name, separator, value = line.partition(":")
        if separator:
            headers[name] = value.strip()
    _, _, status = first.partition(" ")
    if status:
        headers["Status"], _, headers["Description"] = status.partition(" ")
    return headers
