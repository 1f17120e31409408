"""The tokens: their form, their signatures, and that secrets are not shown."""

import base64
import hashlib
from typing import Any

import msgspec
import nkeys  # type: ignore[import-untyped]
import pytest
from nacl.signing import VerifyKey

from simulator.identities.jwt import (
    Bearer,
    Export,
    Import,
    Key,
    KeyKind,
    Permissions,
    account_jwt,
    bearer_of,
    credentials_text,
    operator_jwt,
    user_jwt,
)

NOW = 1_770_000_000


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def claims_of(token: str, issuer: Key) -> dict[str, Any]:
    """Check the signature and the id, and return the claims."""
    header, body, signature = token.split(".")
    assert msgspec.json.decode(decoded(header)) == {"typ": "JWT", "alg": "ed25519-nkey"}
    raw_key = base64.b32decode(issuer.public)[1:33]
    VerifyKey(raw_key).verify(f"{header}.{body}".encode(), decoded(signature))
    claims: dict[str, Any] = msgspec.json.decode(decoded(body))
    unnamed = msgspec.json.encode({**claims, "jti": ""})
    digest = hashlib.new("sha512_256", unnamed).digest()
    assert claims["jti"] == base64.b32encode(digest).decode().rstrip("=")
    assert (claims["iat"], claims["iss"]) == (NOW, issuer.public)
    return claims


@pytest.mark.parametrize(("kind", "letter"), [(KeyKind.OPERATOR, "O"), (KeyKind.ACCOUNT, "A"), (KeyKind.USER, "U")])
def test_keys_are_fresh_and_say_what_they_are(kind: KeyKind, letter: str) -> None:
    one, other = Key(kind), Key(kind)
    assert one.public[0] == other.public[0] == letter
    assert one.public != other.public
    assert one.seed.startswith(f"S{letter}")
    assert nkeys.from_seed(one.seed.encode()).public_key.decode() == one.public


def test_a_key_does_not_show_its_seed() -> None:
    key = Key(KeyKind.USER)
    assert key.public in repr(key)
    assert key.seed not in f"{key!r} {key}"


def test_operator_token() -> None:
    operator = Key(KeyKind.OPERATOR)
    claims = claims_of(operator_jwt(operator, "op", "ASYSTEM", NOW), operator)
    assert (claims["name"], claims["sub"]) == ("op", operator.public)
    assert claims["nats"] == {"type": "operator", "version": 2, "system_account": "ASYSTEM"}


@pytest.mark.parametrize("jetstream", [True, False])
def test_account_token(jetstream: bool) -> None:
    operator, account = Key(KeyKind.OPERATOR), Key(KeyKind.ACCOUNT).public
    exports = [Export("a"), Export("b", many_answers=True), Export("c", service=False)]
    imports = [Import("d", "AOTHER"), Import("e", "AOTHER", service=False)]
    token = account_jwt(operator, account, "acc", NOW, jetstream=jetstream, exports=exports, imports=imports)
    claims = claims_of(token, operator)
    assert (claims["name"], claims["sub"], claims["nats"]["type"]) == ("acc", account, "account")
    assert ("disk_storage" in claims["nats"]["limits"]) == jetstream
    assert claims["nats"]["exports"] == [
        {"name": "a", "subject": "a", "type": "service"},
        {"name": "b", "subject": "b", "type": "service", "response_type": "Stream"},
        {"name": "c", "subject": "c", "type": "stream"},
    ]
    assert claims["nats"]["imports"] == [
        {"name": "d", "subject": "d", "account": "AOTHER", "type": "service"},
        {"name": "e", "subject": "e", "account": "AOTHER", "type": "stream"},
    ]


@pytest.mark.parametrize(
    ("permissions", "publish", "subscribe"),
    [
        (Permissions(("a", "b.*"), ("c.>",)), {"allow": ["a", "b.*"]}, {"allow": ["c.>"]}),
        (Permissions(), {"deny": [">"]}, {"deny": [">"]}),
    ],
    ids=["lists", "an empty list is nothing, not everything"],
)
def test_user_token(permissions: Permissions, publish: dict[str, Any], subscribe: dict[str, Any]) -> None:
    account, user = Key(KeyKind.ACCOUNT), Key(KeyKind.USER).public
    claims = claims_of(user_jwt(account, user, "who", permissions, NOW), account)
    assert (claims["name"], claims["sub"], claims["nats"]["type"]) == ("who", user, "user")
    assert (claims["nats"]["pub"], claims["nats"]["sub"]) == (publish, subscribe)
    assert "exp" not in claims


def test_credentials_text() -> None:
    user = Key(KeyKind.USER)
    lines = credentials_text("a.b.c", user).splitlines()
    assert lines[lines.index("-----BEGIN NATS USER JWT-----") + 1] == "a.b.c"
    assert lines[lines.index("-----BEGIN USER NKEY SEED-----") + 1] == user.seed


def test_whom_credentials_name() -> None:
    account, user = Key(KeyKind.ACCOUNT), Key(KeyKind.USER)
    allowed = Permissions(publish=("a.>",), subscribe=("b",))
    credentials = credentials_text(user_jwt(account, user.public, "w", allowed, NOW), user)
    assert bearer_of(credentials) == Bearer(account.public, allowed)


@pytest.mark.parametrize(
    "nats",
    [{}, {"pub": {}}, {"pub": {"allow": None}, "sub": {}}, {"pub": [], "sub": []}, "not even claims"],
    ids=str,
)
def test_credentials_that_name_nobody(nats: object) -> None:
    token = {"jti": "", "iat": NOW, "iss": "A", "name": "w", "sub": "U", "nats": nats}
    payload = base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")
    for text in (f"-\n{'head'}.{payload}.{'signature'}\n-", "", "-\nno token\n-", "-\na.\u00e9.c\n-"):
        with pytest.raises(ValueError, match="no credentials of a user"):
            bearer_of(text)
