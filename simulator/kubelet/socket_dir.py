"""`/tmp/serverless-framework`, the mount point that all platforms on this machine share (contract 6.2).

With mount namespaces each container sees its own pod's volume there. So the directory itself stays empty, but it must
exist while anyone uses it: removing it would unmount what the containers of other platforms have mounted on it.
Each user holds a shared lock on it; whoever leaves and finds it unlocked, empty and made by a platform, removes it.
Without namespaces each pod gets a real directory below it.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from framework.contract import SOCKET_DIR
from simulator.errors import EnvironmentMissing
from simulator.processes.spawn import Processes
from simulator.processes.warden import MOUNT_POINT_MODE, remove_if_unused

LOCK_TIMEOUT_S = 5.0
"""Others hold the exclusive lock only while they remove the directory."""
LOCK_RETRY_S = 0.002
"""flock can only be asked or blocked on; it has no event to wait for."""


class SocketDir:
    """The shared mount point, in existence while this async context manager is entered."""

    def __init__(self, processes: Processes, path: Path = Path(SOCKET_DIR)) -> None:
        self.path = path
        self._processes = processes
        self._lock = -1

    async def __aenter__(self) -> Self:
        """Raises EnvironmentMissing: something else is at the path, or it cannot be made."""
        try:
            async with asyncio.timeout(LOCK_TIMEOUT_S):
                while not self._try_to_lock():  # noqa: ASYNC110 - see LOCK_RETRY_S
                    await asyncio.sleep(LOCK_RETRY_S)
        except TimeoutError as error:
            raise EnvironmentMissing(
                f"another process keeps {self.path} locked; end it (see `fuser {self.path}`)"
            ) from error
        except OSError as error:
            raise EnvironmentMissing(
                f"{self.path} must be a directory that this user can open ({error.strerror}); remove what is there"
            ) from error
        self._processes.release_at_end(self.path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._lock)
        remove_if_unused(str(self.path))
        self._processes.released(self.path)

    def make_pod_directory(self) -> Path:
        """Make a directory for one pod's sockets, for use where no mount namespaces are; 9 bytes longer than the path.

        Raises:
            EnvironmentMissing: it cannot be made.
        """
        directory = self.path / secrets.token_hex(4)
        try:
            directory.mkdir()
        except OSError as error:
            raise EnvironmentMissing(
                f"cannot make a directory in {self.path} ({error.strerror}); it must be writable for this user"
            ) from error
        self._processes.remove_at_end(directory)
        return directory

    def _try_to_lock(self) -> bool:
        """Make the directory if need be and lock it; False if somebody is removing it right now."""
        with contextlib.suppress(FileExistsError):
            self.path.mkdir()
            self.path.chmod(MOUNT_POINT_MODE)
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), self.path.stat()):
                self._lock = descriptor
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        return False
