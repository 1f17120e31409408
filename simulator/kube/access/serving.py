"""The server's certificate, and what TLS is made of it.

Making one takes a while at each start, so it is kept in the user's cache directory. The key of the authority that
signed it is kept nowhere: nobody can sign another one.
"""

import ssl
import tempfile
import time
from dataclasses import dataclass, field
from typing import Final

import structlog

from simulator.kube.access.cache import UnusableCacheError, cache_directory, read_private, write_private

HOST: Final = "127.0.0.1"
FILE: Final = "kube-api.pem"
RENEW_S: Final = 30 * 86400
"""A certificate that is not valid for this much longer is replaced; no platform runs that long."""
_END: Final = b"-----END CERTIFICATE-----\n"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """The server's private key and certificate, then the certificate of the authority that signed it, in PEM."""

    pem: bytes = field(repr=False)

    @property
    def authority(self) -> bytes:
        """The authority's certificate, by which clients know the server."""
        return self.pem.split(_END)[1] + _END

    def context(self) -> ssl.SSLContext:
        """The server's side of TLS.

        Raises:
            ssl.SSLError: the key is not the certificate's, or the like.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        with tempfile.NamedTemporaryFile(prefix="unitsim-") as file:  # which only its owner may read
            file.write(self.pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def is_usable(self, now: float) -> bool:
        """Whether it is complete, and valid now (Unix time) and for a while."""
        try:
            self.context()
            client = ssl.create_default_context(cadata=self.authority.decode("ascii"))
            [authority] = client.get_ca_certs()
            start, end = (ssl.cert_time_to_seconds(str(authority[key])) for key in ("notBefore", "notAfter"))
        except (OSError, ValueError, IndexError, KeyError):
            return False
        return start <= now and now + RENEW_S <= end


def server_identity() -> ServerIdentity:
    """The one that is kept, or a new one where none is, none is valid any longer, or none can be kept."""
    try:
        with cache_directory() as directory:
            kept = read_private(directory, FILE)
            if kept is not None and (identity := ServerIdentity(kept)).is_usable(time.time()):
                return identity
            identity = new_identity()
            write_private(directory, FILE, identity.pem)
            return identity
    except UnusableCacheError as error:
        _log.info("the certificate of the Kubernetes API is not kept for the next start", reason=str(error))
        return new_identity()


def new_identity() -> ServerIdentity:
    """One that nobody has yet; its authority is valid as long as itself."""
    from simulator.kube.access.certificates import Authority

    authority = Authority("gpuunit-sim")
    pair = authority.server(["localhost"], [HOST])
    return ServerIdentity(pair.key + pair.certificate + authority.certificate)
