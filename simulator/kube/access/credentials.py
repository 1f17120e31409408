"""Whom the API lets in: the tokens and client certificates that it has given out, and its own certificate."""

import hashlib
import secrets
import ssl
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Final

from simulator.kube.access.serving import ServerIdentity, server_identity
from simulator.kube.access.users import ANONYMOUS, AUTHENTICATED, User, bearer_token, certificate_user
from simulator.kube.status import unauthorized

if TYPE_CHECKING:
    from simulator.kube.access.certificates import Authority, Pair

_TOKEN_BYTES: Final = 24
_CLIENTS: Final = "gpuunit-sim clients"

PeerSubject = Iterable[Iterable[tuple[str, str]]]
"""The subject of a certificate, in the form of `ssl.SSLSocket.getpeercert`."""


class Credentials:
    """Made anew at each start, but for the server's certificate; a server that starts again may be given the old ones.

    Tokens and certificates are made when they are first asked for.
    """

    def __init__(self) -> None:
        self._tokens: dict[User, str] = {}
        self._users: dict[bytes, User] = {}

    @cached_property
    def server(self) -> ServerIdentity:
        """The server's certificate; reads or makes it."""
        return server_identity()

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The server's side of TLS."""
        return self.server.context()

    def token(self, user: User) -> str:
        """The token that stands for the user."""
        if user not in self._tokens:
            token = self._tokens[user] = secrets.token_urlsafe(_TOKEN_BYTES)
            self._users[_digest(token)] = user
        return self._tokens[user]

    def certificate(self, user: User) -> "Pair":
        """A client certificate that stands for the user; each one is new."""
        return self._clients.client(user.name, [group for group in user.groups if group != AUTHENTICATED])

    @cached_property
    def _clients(self) -> "Authority":
        from simulator.kube.access.certificates import Authority

        authority = Authority(_CLIENTS)
        self.context.load_verify_locations(cadata=authority.certificate.decode("ascii"))
        self.context.verify_mode = ssl.CERT_OPTIONAL
        return authority

    def user_of_token(self, token: str) -> User | None:
        """Whom the token stands for, None if nobody."""
        return self._users.get(_digest(token))

    def authenticated(self, authorization: str, subject: PeerSubject | None) -> User:
        """The user of a request with this `Authorization` header ("" if there is none) and client certificate.

        Raises:
            ApiFailure: 401; the token is nobody's.
        """
        if subject is not None and (user := certificate_user(subject)):
            return user
        token = bearer_token(authorization)
        if not token:
            return ANONYMOUS
        user = self.user_of_token(token)
        if user is None:
            raise unauthorized()
        return user


def _digest(token: str) -> bytes:
    """By which a token is looked up, so that the time it takes tells nothing of the others."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
