"""Who a child process is: user, groups, and where that lets it go."""

import os
import stat
from dataclasses import dataclass

ROOT = 0


@dataclass(frozen=True, slots=True)
class User:
    """The user and groups of a child. With `no_new_privileges` no set-user-id program lifts it out of them."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    no_new_privileges: bool = True

    def __str__(self) -> str:
        groups = ",".join(map(str, self.groups))
        return f"{self.uid}:{self.gid}:{groups}{':n' if self.no_new_privileges else ''}"

    def may_enter(self, directory: os.stat_result) -> bool:
        """Whether the directory's mode lets this user reach what is in it."""
        if self.uid == ROOT:
            return True
        if directory.st_uid == self.uid:
            return bool(directory.st_mode & stat.S_IXUSR)
        if directory.st_gid in (self.gid, *self.groups):
            return bool(directory.st_mode & stat.S_IXGRP)
        return bool(directory.st_mode & stat.S_IXOTH)
