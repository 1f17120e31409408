"""The authority of a queue whose server is elsewhere: signs the workers' accounts, and sends them to the server.

The server keeps them on its own disk. It lets in the users of accounts that its operator signed, and of no others.
"""

import time
from typing import Final

import msgspec

from sidecar.queue import Access, Queue, QueueRefusedError
from simulator.identities.authority import new_user, worker_imports
from simulator.identities.jwt import Key, KeyKind, account_jwt
from simulator.identities.permissions import PLATFORM_INBOX, Grants

CLAIMS_UPDATE: Final = "$SYS.REQ.CLAIMS.UPDATE"
ACCOUNTS_GRANTS: Final = Grants((CLAIMS_UPDATE,), (), f"{PLATFORM_INBOX}.accounts")
"""What the system account's user needs who sends accounts, and no more."""


class _Error(msgspec.Struct, frozen=True):
    description: str = ""


class _Answer(msgspec.Struct, frozen=True):
    error: _Error | None = None


class RemoteAuthority:
    """Issues workers' identities. `operator` signs, `queue_account` is the public key of the queue's account.

    `accounts` is a connection to the server as a user of its system account.
    """

    def __init__(self, operator: Key, queue_account: str, accounts: Queue) -> None:
        self._operator = operator
        self._queue_account = queue_account
        self._accounts = accounts

    async def issue(self, name: str, grants: Grants) -> Access:
        """Make an account for one worker and its user; the server knows it from now on.

        Raises:
            QueueRefusedError: the server does not take it.
            QueueUnavailableError: it did not answer in time.
        """
        account = Key(KeyKind.ACCOUNT)
        imports = worker_imports(grants, self._queue_account)
        token = account_jwt(self._operator, account.public, name, int(time.time()), imports=imports)
        refusal = refusal_in(await self._accounts.request(CLAIMS_UPDATE, token.encode()))
        if refusal:
            raise QueueRefusedError(f"the queue's server does not take the account of {name}: {refusal}")
        return Access(new_user(account, name, grants), inbox_prefix=grants.inbox_prefix)


def refusal_in(answer: bytes) -> str:
    """Why the server refused an account, empty when it took it."""
    try:
        error = msgspec.json.decode(answer, type=_Answer).error
    except msgspec.DecodeError:
        return "its answer is not the one of a nats-server"
    return (error.description or "no reason given") if error else ""
