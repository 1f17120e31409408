"""The platform's own parts at the queue: each connects with an identity of its own, or without any when it is open."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from sidecar.queue import Access, Queue
from sidecar.stream import StreamSettings
from simulator.identities import permissions
from simulator.identities.authority import Authority
from simulator.identities.private_file import write_private

ACCOUNTS: Final = "accounts"
"""The role that tells the server of the workers' accounts."""


class Roles:
    """The roles `owner`, `activator`, `api`, `results`, `admin` and `reader`, and `accounts` of the system's account.

    `authority` None means that nobody is asked.
    """

    def __init__(self, authority: Authority | None, stream: StreamSettings, activator_consumer: str) -> None:
        self._authority = authority
        self._stream = stream
        self._grants = {
            "owner": permissions.owner(stream),
            "activator": permissions.activator(stream, activator_consumer),
            "api": permissions.api(stream),
            "results": permissions.result_store(stream),
            "admin": permissions.admin(),
            "reader": permissions.reader(stream),
        }

    def connect(self, role: str, url: str) -> AbstractAsyncContextManager[Queue]:
        """Connect as a new identity of the role, which is in memory only."""
        return Queue.connect(url, client_name=f"unitsim-{role}", stream=self._stream, access=self.access(role))

    def access(self, role: str) -> Access:
        """Make a new identity of the role."""
        if self._authority is None:
            return Access()
        return (
            self._authority.accounts_access() if role == ACCOUNTS else self._authority.access(role, self._grants[role])
        )

    def write_credentials(self, role: str, directory: Path) -> Path | None:
        """Make a new identity of the role and write it to a file that only its owner may read; None when open."""
        credentials = self.access(role).credentials
        if credentials is None:
            return None
        path = directory / f"{role}.creds"
        write_private(path, credentials.text.encode())
        return path
