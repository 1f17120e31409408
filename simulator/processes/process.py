"""One running child process: its end is noticed, its whole group ends with it, and it is always reaped."""

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable

from simulator.processes.completion import complete

REAP_TIMEOUT_S = 10.0
"""A killed process is gone in milliseconds; one that is not hangs in the kernel and cannot be waited for."""


class Process:
    """A child in a session and process group of its own. Made by `Processes.start`."""

    def __init__(self, child: "subprocess.Popen[bytes]", on_exit: Callable[["Process"], None]) -> None:
        self._child = child
        self._on_exit = on_exit
        self._ended = asyncio.Event()
        _call_at_exit(child, self._reap)

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its process group."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, the negative signal number if a signal ended it, None while it runs."""
        return self._child.returncode if self._ended.is_set() else None

    async def wait(self) -> int:
        """Wait for the process to end, by itself or not, and return its exit code (negative: the signal)."""
        await self._ended.wait()
        return self._child.returncode

    def signal(self, number: int) -> None:
        """Send a signal to the process and its descendants; nothing happens if it has ended."""
        # Until it is reaped, which happens in this thread, its id cannot be that of another process.
        if not self._ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def terminate(self, grace_s: float) -> int:
        """Send SIGTERM, after `grace_s` seconds SIGKILL, and return the exit code. Cancelled, it kills at once."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                return await self.wait()
        except TimeoutError:
            return await self.kill()
        except asyncio.CancelledError:
            await self.kill()
            raise

    async def kill(self) -> int:
        """Send SIGKILL, wait until the process is gone, and return its exit code. Raises TimeoutError."""
        self.signal(signal.SIGKILL)
        return await complete(self._wait_for_kill())

    async def _wait_for_kill(self) -> int:
        async with asyncio.timeout(REAP_TIMEOUT_S):
            return await self.wait()

    def _reap(self) -> None:
        # The leader is a zombie, so its group id is still ours: what is left of the group ends with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._on_exit(self)
        self._child.wait()
        self._ended.set()


def _call_at_exit(child: "subprocess.Popen[bytes]", callback: Callable[[], None]) -> None:
    """Call `callback` in the event loop when the child has ended; it is not reaped before that."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(child.pid)
    except (AttributeError, OSError):  # no Linux, or one that does not allow it
        threading.Thread(target=_wait_in_thread, args=(loop, child, callback), daemon=True).start()
        return

    def ended() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        callback()

    loop.add_reader(descriptor, ended)


def _wait_in_thread(
    loop: asyncio.AbstractEventLoop, child: "subprocess.Popen[bytes]", callback: Callable[[], None]
) -> None:
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    else:
        child.wait()
    with contextlib.suppress(RuntimeError):  # the loop was closed before the child ended
        loop.call_soon_threadsafe(callback)
