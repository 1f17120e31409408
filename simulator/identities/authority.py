"""The operator of one platform run: makes the keys, signs the tokens, and tells the server whom to believe (S22, S23).

The platform's own parts are users of one account, that of the queue, each with the permissions of its role. Every
worker gets an account of its own, which imports no more of the queue than the worker may use. Permissions alone would
not hold a worker: they are not checked for the reply subject of a request, so that the server itself would publish its
answer wherever the request says, be it `$JS.API.STREAM.DELETE`. In an account of its own a reply goes nowhere else.

Keys live in memory and end with the run; the tokens do not expire before that.
"""

import time
from pathlib import Path
from typing import Any, Final

from sidecar.queue import Queue
from sidecar.queue_connection import Access
from sidecar.stream import StreamSettings
from simulator.identities.jwt import Key, KeyKind, account_jwt, operator_jwt
from simulator.identities.permissions import Grants, worker_exports
from simulator.identities.worker_accounts import ACCOUNTS_GRANTS, WorkerAccounts, new_user

OPERATOR: Final = "unitsim"
QUEUE_ACCOUNT: Final = "queue"
SYSTEM_ACCOUNT: Final = "system"


class Authority:
    """Issues identities. `directory` (made if missing) is where the server looks up accounts; it holds no secret."""

    def __init__(self, directory: Path, stream: StreamSettings) -> None:
        self._directory = directory
        self._operator = Key(KeyKind.OPERATOR)
        self._system = Key(KeyKind.ACCOUNT)
        self._queue = Key(KeyKind.ACCOUNT)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._publish_account(self._system, SYSTEM_ACCOUNT)
        self._publish_account(self._queue, QUEUE_ACCOUNT, jetstream=True, exports=worker_exports(stream))

    def __repr__(self) -> str:
        return f"Authority({self._operator.public})"

    def server_settings(self) -> dict[str, Any]:
        """The part of a nats-server configuration that makes it believe this authority, and nobody else."""
        system = self._system.public
        return {
            "operator": operator_jwt(self._operator, OPERATOR, system, _now()),
            "system_account": system,
            "resolver": resolver_settings(str(self._directory)),
        }

    def access(self, name: str, grants: Grants) -> Access:
        """Make a user of the queue's account."""
        return Access(new_user(self._queue, name, grants), inbox_prefix=grants.inbox_prefix)

    def accounts_access(self) -> Access:
        """Make a user of the system's account, who may tell the server of workers' accounts, and no more."""
        return Access(new_user(self._system, "accounts", ACCOUNTS_GRANTS), inbox_prefix=ACCOUNTS_GRANTS.inbox_prefix)

    def of_workers(self, accounts: Queue) -> WorkerAccounts:
        """What issues and takes back workers' identities; `accounts` is a connection with `accounts_access`."""
        return WorkerAccounts(self._operator, self._queue.public, self._system.public, accounts)

    def _publish_account(self, account: Key, name: str, **content: Any) -> None:
        token = account_jwt(self._operator, account.public, name, _now(), **content)
        path = self._directory / f"{account.public}.jwt"
        unfinished = path.with_suffix(".new")
        unfinished.write_text(token)
        unfinished.rename(path)


def resolver_settings(directory: str) -> dict[str, Any]:
    """The part of a server's configuration that says where it keeps accounts; those of workers come and go."""
    return {
        "type": "full",
        "dir": directory,
        "limit": 1_000_000,
        "interval": "1h",
        "allow_delete": True,
        "hard_delete": True,
    }


def _now() -> int:
    return int(time.time())
