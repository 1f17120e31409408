"""The workers' accounts at the queue's server: made for each identity, and deleted when nobody may present it any more.

The server keeps them on its own disk. It lets in the users of accounts that its operator signed, and of no others. When
it is told to delete one it ends the connections of its users, and refuses them from then on (S23).
"""

import time
from collections.abc import Collection
from typing import Final

import msgspec

from sidecar.queue import Access, Queue, QueueRefusedError
from sidecar.queue_connection import Credentials
from simulator.identities.jwt import Import, Key, KeyKind, account_jwt, credentials_text, deletion_jwt, user_jwt
from simulator.identities.permissions import ACCOUNT_INFO, PLATFORM_INBOX, Grants

_UPDATE: Final = "$SYS.REQ.CLAIMS.UPDATE"
_DELETE: Final = "$SYS.REQ.CLAIMS.DELETE"
_LIST: Final = "$SYS.REQ.CLAIMS.LIST"
ACCOUNTS_GRANTS: Final = Grants((_UPDATE, _DELETE, _LIST), (), f"{PLATFORM_INBOX}.accounts")
"""What the system account's user needs who tells of accounts, and no more."""
_DELETED_AT_ONCE: Final = 5000
"""As many as surely fit into one message."""


class _Error(msgspec.Struct, frozen=True):
    description: str = ""


class _Answer(msgspec.Struct, frozen=True):
    data: msgspec.Raw = msgspec.Raw(b"[]")
    error: _Error | None = None


class WorkerAccounts:
    """Issues and takes back workers' identities. `operator` signs; the queue's account is told by its public key.

    `server` is a connection to the server as a user of its system account, whose public key is `system_account`.
    """

    def __init__(self, operator: Key, queue_account: str, system_account: str, server: Queue) -> None:
        self._operator = operator
        self._queue_account = queue_account
        self._system_account = system_account
        self._server = server

    async def issue(self, name: str, grants: Grants) -> Access:
        """Make an account for one worker and its user; the server knows it from now on.

        Raises:
            QueueRefusedError: the server does not take it.
            QueueUnavailableError: it did not answer in time.
        """
        account = Key(KeyKind.ACCOUNT)
        imports = worker_imports(grants, self._queue_account)
        token = account_jwt(self._operator, account.public, name, _now(), imports=imports)
        await self._ask(_UPDATE, token.encode(), f"does not take the account of {name}")
        return Access(new_user(account, name, grants), inbox_prefix=grants.inbox_prefix)

    async def known(self) -> set[str]:
        """The public keys of all workers' accounts that the server knows. Raises as `issue`."""
        answer = await self._ask(_LIST, b"", "does not list its accounts")
        return msgspec.json.decode(answer, type=set[str]) - {self._queue_account, self._system_account}

    async def revoke(self, accounts: Collection[str]) -> None:
        """Have the server forget accounts: whoever presents their credentials is refused from now on.

        One that it does not know is fine. Raises as `issue`.
        """
        left = sorted(accounts)
        while left:
            token = deletion_jwt(self._operator, left[:_DELETED_AT_ONCE], _now())
            await self._ask(_DELETE, token.encode(), "does not delete accounts of former workers")
            del left[:_DELETED_AT_ONCE]

    async def _ask(self, subject: str, body: bytes, refused: str) -> msgspec.Raw:
        answer = await self._server.request(subject, body)
        if refusal := refusal_in(answer):
            raise QueueRefusedError(f"the queue's server {refused}: {refusal}")
        return msgspec.json.decode(answer, type=_Answer).data


def worker_imports(grants: Grants, queue: str) -> tuple[Import, ...]:
    """What a worker's own account takes from the queue's account, whose public key is `queue`."""
    taken = [Import(subject, queue) for subject in (*grants.publish, ACCOUNT_INFO)]
    heard = [Import(subject, queue, service=False) for subject in grants.listen]
    return (*taken, *heard)


def new_user(account: Key, name: str, grants: Grants) -> Credentials:
    """Make a user of an account."""
    user = Key(KeyKind.USER)
    token = user_jwt(account, user.public, name, grants.permissions, _now())
    return Credentials(credentials_text(token, user))


def refusal_in(answer: bytes) -> str:
    """Why the server refused to do something about accounts, empty when it did it."""
    try:
        error = msgspec.json.decode(answer, type=_Answer).error
    except msgspec.DecodeError:
        return "its answer is not the one of a nats-server"
    return (error.description or "no reason given") if error else ""


def _now() -> int:
    return int(time.time())
