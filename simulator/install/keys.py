"""The keys of an installation, and every token that follows from them.

The seeds and the time of issue are all there is to keep: signatures are deterministic, so the same keys give the same
tokens, and a second installation over the first changes nothing. They are in one Secret of the cluster.
"""

import base64
import binascii
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import nkeys  # type: ignore[import-untyped]

from sidecar.stream import StreamSettings
from sidecar.subjects import ACTIVATOR_CONSUMER
from simulator.errors import UsageError
from simulator.identities import permissions
from simulator.identities.authority import OPERATOR, QUEUE_ACCOUNT, SYSTEM_ACCOUNT
from simulator.identities.jwt import Key, KeyKind, account_jwt, credentials_text, operator_jwt, user_jwt
from simulator.identities.worker_accounts import ACCOUNTS_GRANTS
from simulator.install.names import PARTS, PEOPLE

OPERATOR_SEED: Final = "operator.nk"
ISSUED_AT: Final = "issued-at"
_SYSTEM_ROLES: Final = frozenset({"accounts"})
"""The roles whose users are of the system's account; all others are of the queue's."""

ROLES: Final = (*(role for part in PARTS for role in part.roles), *PEOPLE)


@dataclass(frozen=True, slots=True)
class PlatformKeys:
    """Seeds by name: those of operator and accounts, and one for each role. `issued_at` is in seconds."""

    seeds: Mapping[str, str] = field(repr=False)
    issued_at: int

    @classmethod
    def fresh(cls) -> Self:
        """Make all keys anew."""
        return cls({name: Key(kind).seed for name, kind in _KINDS.items()}, int(time.time()))

    @classmethod
    def from_secret(cls, data: Mapping[str, str]) -> Self:
        """Read them from the `data` of the Secret; a role that it does not know yet gets a new key.

        Raises:
            UsageError: it holds something else. What it holds is not told.
        """
        try:
            texts = {name: base64.b64decode(value, validate=True).decode("ascii") for name, value in data.items()}
            seeds = {name: texts.get(name) or Key(kind).seed for name, kind in _KINDS.items()}
            for name in _BASE:
                Key(_KINDS[name], texts[name])
            for name, kind in _KINDS.items():
                Key(kind, seeds[name]).sign(b"")
            return cls(seeds, int(texts[ISSUED_AT]))
        except (KeyError, ValueError, binascii.Error, nkeys.NkeysError) as error:
            raise UsageError(
                "the Secret with the platform's keys does not hold them: delete it, and the queue's volume with it, "
                "or take the platform out with 'unitsim kube uninstall'"
            ) from error

    def secret_data(self) -> dict[str, str]:
        """The `data` of the Secret."""
        return {name: encoded(text) for name, text in {**self.seeds, ISSUED_AT: str(self.issued_at)}.items()}

    @property
    def queue_account(self) -> str:
        """Public key of the queue's account."""
        return self._key("queue.nk").public

    def server_settings(self, stream: StreamSettings) -> dict[str, object]:
        """The part of the server's configuration that makes it believe these keys, and nobody else."""
        operator, system = self._key(OPERATOR_SEED), self._key("system.nk").public
        exports = permissions.worker_exports(stream)
        accounts = {
            system: account_jwt(operator, system, SYSTEM_ACCOUNT, self.issued_at),
            self.queue_account: account_jwt(
                operator, self.queue_account, QUEUE_ACCOUNT, self.issued_at, jetstream=True, exports=exports
            ),
        }
        return {
            "operator": operator_jwt(operator, OPERATOR, system, self.issued_at),
            "system_account": system,
            "resolver_preload": accounts,
        }

    def credentials(self, role: str, stream: StreamSettings) -> str:
        """What the credentials file of a role holds."""
        account = self._key("system.nk" if role in _SYSTEM_ROLES else "queue.nk")
        user, grants = self._key(_seed_name(role)), _grants(role, stream)
        return credentials_text(user_jwt(account, user.public, role, grants.permissions, self.issued_at), user)

    def _key(self, name: str) -> Key:
        return Key(_KINDS[name], self.seeds[name])


def encoded(text: str) -> str:
    """Text in the form that the `data` of a Secret has."""
    return base64.b64encode(text.encode()).decode()


def _seed_name(role: str) -> str:
    return f"{role}.nk"


def _grants(role: str, stream: StreamSettings) -> permissions.Grants:
    return {
        "owner": permissions.owner(stream),
        "accounts": ACCOUNTS_GRANTS,
        "activator": permissions.activator(stream, ACTIVATOR_CONSUMER),
        "api": permissions.api(stream),
        "results": permissions.result_store(stream),
        "admin": permissions.admin(),
        "reader": permissions.reader(stream),
    }[role]


_BASE: Final = {OPERATOR_SEED: KeyKind.OPERATOR, "system.nk": KeyKind.ACCOUNT, "queue.nk": KeyKind.ACCOUNT}
_KINDS: Final = {**_BASE, **{_seed_name(role): KeyKind.USER for role in ROLES}}
