"""Users of this machine that stand for nobody, one for each pod, for as long as the pod is here.

What keeps two platforms from taking the same one is an abstract unix socket whose name has the user's number: the
kernel frees it when its owner is gone, however that went.
"""

import contextlib
import os
import pwd
import random
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from simulator.errors import EnvironmentMissing, UsageError
from simulator.processes.users import ROOT

DEFAULT_USERS: Final = range(62000, 64000)
"""Systems give these to nobody, and they are low enough for containers in which a platform may itself run."""

LAST_USER: Final = 2**31 - 1
"""As Kubernetes has it for `runAsUser`."""

_ATTEMPTS_TO_KILL: Final = 20
"""A process that forks while its user's processes are killed is found the next time."""


def parse_users(text: str) -> range:
    """Read a range of users in the form `62000-63999`.

    Raises:
        UsageError: it has another form, or holds root or nobody at all.
    """
    first, _, last = text.partition("-")
    if first.isdecimal() and last.isdecimal() and ROOT < int(first) <= int(last) <= LAST_USER:
        return range(int(first), int(last) + 1)
    raise UsageError(f"{text!r} is no range of users; write FIRST-LAST, such as 62000-63999")


class ClaimedUser:
    """One user out of a range, which nobody else has meanwhile; a context manager.

    It is claimed when it is first asked for, and free again at the end.
    """

    def __init__(self, users: range = DEFAULT_USERS) -> None:
        self._users = users
        self._uid: int | None = None
        self._claims = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._claims.close()

    def uid(self) -> int:
        """The user.

        Raises:
            EnvironmentMissing: all are taken.
        """
        if self._uid is None:
            # Any of them, so that one that has just been given up is not taken at once by the next.
            self._uid = next(filter(self._claim, random.sample(self._users, len(self._users))), None)
        if self._uid is None:
            first, last = self._users[0], self._users[-1]
            raise EnvironmentMissing(f"the users {first} to {last} are all taken; end other pods or platforms")
        return self._uid

    def kill_processes(self) -> None:
        """Kill all processes of the user, also those that left the group of the process that started them."""
        for _ in range(_ATTEMPTS_TO_KILL):
            pids = [] if self._uid is None else list(_processes_of(self._uid))
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not pids:
                return

    def _claim(self, uid: int) -> bool:
        if _is_known(uid):
            return False
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0gpuunit-sim/user/{uid}")
        except OSError:
            claim.close()
            return False
        self._claims.enter_context(claim)
        return True


def _is_known(uid: int) -> bool:
    """Whether this machine has an account of this number."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _processes_of(uid: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                status = (entry / "status").read_text()
                if f"\nUid:\t{uid}\t" in status and "\nState:\tZ" not in status:
                    yield int(entry.name)
