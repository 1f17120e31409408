"""How the sidecar gets into the queue: what its settings say of credentials and TLS (S22, S23)."""

import ssl
from pathlib import Path

from sidecar.config import Config, TlsFiles
from sidecar.queue_connection import DEFAULT_INBOXES, Access, Credentials
from sidecar.subjects import worker_inboxes


class AccessError(Exception):
    """A credentials or certificate file cannot be used; the message names it, never what is in it."""


def access_for(config: Config) -> Access:
    """Read the files that the settings name.

    Raises:
        AccessError: one of them cannot be read, or holds something else.
    """
    credentials = _credentials(config.credentials_file) if config.credentials_file else None
    return Access(
        credentials=credentials,
        tls=_tls_context(config.tls) if config.tls else None,
        inbox_prefix=worker_inboxes(config.request_id, config.worker_name) if credentials else DEFAULT_INBOXES,
    )


def _credentials(path: Path) -> Credentials:
    try:
        return Credentials.from_file(path)
    except (OSError, ValueError) as error:
        raise AccessError(f"cannot read the credentials file {path}: {_reason(error)}") from None


def _tls_context(files: TlsFiles) -> ssl.SSLContext:
    try:
        return files.context()
    except OSError as error:
        raise AccessError(f"cannot use the certificate files for NATS: {_reason(error)}") from None


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not text"
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
