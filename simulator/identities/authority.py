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

from sidecar.queue_connection import Access, Credentials
from sidecar.stream import StreamSettings
from simulator.identities.jwt import Import, Key, KeyKind, account_jwt, credentials_text, operator_jwt, user_jwt
from simulator.identities.permissions import ACCOUNT_INFO, Grants, worker_exports

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
            "resolver": {"type": "full", "dir": str(self._directory), "limit": 1_000_000, "interval": "1h"},
        }

    def access(self, name: str, grants: Grants) -> Access:
        """Make a user of the queue's account."""
        return Access(new_user(self._queue, name, grants), inbox_prefix=grants.inbox_prefix)

    def worker_access(self, name: str, grants: Grants) -> Access:
        """Make an account for one worker and its user; the server knows it from now on."""
        account = Key(KeyKind.ACCOUNT)
        self._publish_account(account, name, imports=worker_imports(grants, self._queue.public))
        return Access(new_user(account, name, grants), inbox_prefix=grants.inbox_prefix)

    async def issue(self, name: str, grants: Grants) -> Access:
        """As `worker_access`, in the form that the issuer asks for."""
        return self.worker_access(name, grants)

    def _publish_account(self, account: Key, name: str, **content: Any) -> None:
        token = account_jwt(self._operator, account.public, name, _now(), **content)
        path = self._directory / f"{account.public}.jwt"
        unfinished = path.with_suffix(".new")
        unfinished.write_text(token)
        unfinished.rename(path)


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


def _now() -> int:
    return int(time.time())
