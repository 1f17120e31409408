"""NATS keys and JSON Web Tokens: operator, account and user claims (version 2), signed with Ed25519 nkeys.

An operator signs its accounts, an account signs its users, and a server that knows the operator can check them all
without a list of users. Pure but for the randomness of keys; times are whole seconds since the epoch, as in the tokens.
"""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import msgspec
import nkeys  # type: ignore[import-untyped]

_VERSION: Final = 2
_UNLIMITED: Final = -1
_SEED_BYTES: Final = 32

Claims = dict[str, Any]
"""The `nats` part of a token; which keys it has depends on its type."""


class KeyKind(Enum):
    """Whom a key identifies; the value is the kind's prefix byte."""

    OPERATOR = nkeys.PREFIX_BYTE_OPERATOR
    ACCOUNT = nkeys.PREFIX_BYTE_ACCOUNT
    USER = nkeys.PREFIX_BYTE_USER


class Key:
    """A key pair, a fresh one unless its seed is given; what it shows of itself is public."""

    def __init__(self, kind: KeyKind, seed: str = "") -> None:
        self._seed: bytes = seed.encode() or nkeys.encode_seed(secrets.token_bytes(_SEED_BYTES), kind.value)
        self._pair = nkeys.from_seed(bytearray(self._seed))
        self.public: str = self._pair.public_key.decode()

    def __repr__(self) -> str:
        return f"Key({self.public})"

    @property
    def seed(self) -> str:
        """The secret half, as credentials files carry it."""
        return self._seed.decode()

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature."""
        return bytes(self._pair.sign(data))


@dataclass(frozen=True, slots=True)
class Permissions:
    """The subjects, wildcards allowed, that a user may publish to and subscribe to; nothing else is allowed."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom credentials name: a user of an account, given by its public key, and what that user may do."""

    account: str
    permissions: Permissions


@dataclass(frozen=True, slots=True)
class Export:
    """Subjects of an account that others may import: a service takes their messages, a stream hands out its own."""

    subject: str
    service: bool = True
    many_answers: bool = False


@dataclass(frozen=True, slots=True)
class Import:
    """Subjects of another account, by its public key, under the same names in this one."""

    subject: str
    account: str
    service: bool = True


class _Token(msgspec.Struct):
    jti: str
    iat: int
    iss: str
    name: str
    sub: str
    nats: Claims


_HEADER: Final = {"typ": "JWT", "alg": "ed25519-nkey"}


def operator_jwt(operator: Key, name: str, system_account: str, now: int) -> str:
    """The operator's own token; it names the account in which the server publishes about itself."""
    return _signed(operator, operator.public, name, _claims("operator", system_account=system_account), now)


def account_jwt(
    operator: Key,
    account: str,
    name: str,
    now: int,
    *,
    jetstream: bool = False,
    exports: Sequence[Export] = (),
    imports: Sequence[Import] = (),
) -> str:
    """A token for the account with this public key, without limits; `jetstream` lets it have streams."""
    names = ["subs", "data", "payload", "imports", "exports", "conn"]
    names += ["mem_storage", "disk_storage", "streams", "consumer"] if jetstream else []
    claims = _claims(
        "account",
        limits={**dict.fromkeys(names, _UNLIMITED), "wildcards": True},
        exports=[_export(each) for each in exports],
        imports=[_import(each) for each in imports],
    )
    return _signed(operator, account, name, claims, now)


def user_jwt(account: Key, user: str, name: str, permissions: Permissions, now: int) -> str:
    """A token for the user with this public key; it does not expire, it ends with the account's key."""
    limits = dict.fromkeys(["subs", "data", "payload"], _UNLIMITED)
    allowed = {"pub": _allow(permissions.publish), "sub": _allow(permissions.subscribe)}
    return _signed(account, user, name, _claims("user", **limits, **allowed), now)


def deletion_jwt(operator: Key, accounts: Sequence[str], now: int) -> str:
    """A token by which the operator asks servers to forget accounts."""
    return _signed(operator, operator.public, "deletion", _claims("generic", accounts=list(accounts)), now)


def credentials_text(token: str, user: Key) -> str:
    """What a NATS credentials file holds: the user's token and the seed of its key."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n"
        "The seed below is a secret: whoever has it is this user.\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )


def bearer_of(credentials: str) -> Bearer:
    """Whom credentials name; who signed them is not checked.

    Raises:
        ValueError: they are no credentials of a user.
    """
    try:
        _, token, *_ = credentials.splitlines()
        _, payload, _ = token.split(".")
        read = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Token)
        allowed = {side: tuple(read.nats[side].get("allow", ())) for side in ("pub", "sub")}
    except (ValueError, KeyError, TypeError, AttributeError, msgspec.MsgspecError) as error:
        raise ValueError("no credentials of a user") from error
    return Bearer(read.iss, Permissions(publish=allowed["pub"], subscribe=allowed["sub"]))


def _allow(subjects: Sequence[str]) -> dict[str, list[str]]:
    # To the server an empty list of allowed subjects means all of them.
    return {"allow": list(subjects)} if subjects else {"deny": [">"]}


def _export(export: Export) -> Claims:
    answers = {"response_type": "Stream"} if export.many_answers else {}
    return {"name": export.subject, "subject": export.subject, "type": _share(export.service), **answers}


def _import(wanted: Import) -> Claims:
    return {
        "name": wanted.subject,
        "subject": wanted.subject,
        "account": wanted.account,
        "type": _share(wanted.service),
    }


def _share(service: bool) -> str:
    return "service" if service else "stream"


def _claims(kind: str, **content: Any) -> Claims:
    return {**content, "type": kind, "version": _VERSION}


def _signed(issuer: Key, subject: str, name: str, claims: Claims, now: int) -> str:
    token = _Token(jti="", iat=now, iss=issuer.public, name=name, sub=subject, nats=claims)
    digest = hashlib.new("sha512_256", msgspec.json.encode(token)).digest()
    token.jti = base64.b32encode(digest).decode().rstrip("=")
    text = f"{_base64url(msgspec.json.encode(_HEADER))}.{_base64url(msgspec.json.encode(token))}"
    return f"{text}.{_base64url(issuer.sign(text.encode()))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
