"""What a sidecar and a framework say to each other over the unix socket (contract sections 3.6, 3.7 and 8).

The whole agreement between trusted and user code is in this module: two message types, three environment variables
and their defaults. It knows nothing of queues, subjects or credentials, so user code that imports it cannot either.
"""

import posixpath
from datetime import UTC, datetime
from typing import Annotated

import msgspec

SOCKET_DIR = "/tmp/serverless-framework"  # noqa: S108 - the path is part of the contract
DEFAULT_SOCKET_PATH = f"{SOCKET_DIR}/framework.sock"
DEFAULT_INVOKE_PATH = "/invoke"
DEFAULT_HEALTH_PATH = "/healthz"

SOCKET_PATH_ENV = "SERVERLESS_FRAMEWORK_SOCKET_PATH"
INVOKE_PATH_ENV = "SERVERLESS_FRAMEWORK_INVOKE_PATH"
HEALTH_PATH_ENV = "SERVERLESS_FRAMEWORK_HEALTH_PATH"

MAX_SOCKET_PATH_BYTES = 107
"""`sockaddr_un.sun_path` holds 108 bytes on Linux, the closing NUL included."""

VERSION = "v1"
NO_JSON = msgspec.Raw()
"""An absent payload or body. Use this one: msgspec leaves a field out only if it holds the very default object."""
ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)
"""What Go writes for a time that was never set; read it as "not set"."""


class ContractError(ValueError):
    """A path or a setting that the contract does not allow; the message names it and says what is allowed."""


class InvocationRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One call, as the sidecar posts it to the framework's invoke path (contract 3.6).

    Only `invocation_id` must be present on input. `payload` is the caller's JSON, byte for byte; `NO_JSON`
    means that the caller sent none. `timeout_seconds` is the execution budget in seconds, 0 for none.
    """

    # A default factory keeps msgspec from leaving the field out: these are always written.
    version: str = msgspec.field(default_factory=lambda: VERSION)
    invocation_id: str = msgspec.field(name="invocationID")
    serverless_request_id: str = msgspec.field(name="serverlessRequestID", default_factory=str)
    worker_name: str = msgspec.field(default_factory=str)
    worker_namespace: str = msgspec.field(default_factory=str)
    mode: str = msgspec.field(default_factory=lambda: "async")
    state: str = ""
    content_type: str = ""
    headers: dict[str, str] = {}
    attributes: dict[str, str] = {}
    payload: msgspec.Raw = NO_JSON
    timeout_seconds: int = 0
    dispatched_at: Annotated[datetime, msgspec.Meta(tz=True)] = msgspec.field(default_factory=lambda: ZERO_TIME)


class InvocationResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The handler's answer, as the framework returns it with HTTP 200 (contract 3.7).

    `status_code` 0 means 200. `body` is raw JSON and passes the sidecar untouched. A non-empty `error` is the
    application's own error text.
    """

    status_code: int = 0
    content_type: str = ""
    headers: dict[str, str] = {}
    body: msgspec.Raw = NO_JSON
    error: str = ""


def clean_http_path(path: str, default: str) -> str:
    """Return `path` as the one form that all parts of the platform use (contract 5.2).

    A leading slash is added, `.`/`..`/double and trailing slashes are resolved; empty and `/` become `default`.

    Raises:
        ContractError: white space, control characters, `?` or `#` in the path.
    """
    stripped = path.strip()
    if any(c.isspace() or not c.isprintable() or c in "?#" for c in stripped):
        raise ContractError(f"HTTP path {path!r} must not contain spaces, control characters, '?' or '#'")
    cleaned = posixpath.normpath("/" + stripped.lstrip("/"))
    return default if cleaned == "/" else cleaned


def clean_socket_path(path: str) -> str:
    """Return `path` cleaned, or the default when it is empty (contract 5.2 and 7.1).

    Raises:
        ContractError: the path is not strictly below `SOCKET_DIR`, or longer than `MAX_SOCKET_PATH_BYTES`.
    """
    stripped = path.strip()
    if not stripped:
        return DEFAULT_SOCKET_PATH
    cleaned = posixpath.normpath("/" + stripped.lstrip("/"))
    if not cleaned.startswith(SOCKET_DIR + "/"):
        raise ContractError(f"socket path {path!r} must be below {SOCKET_DIR}/")
    if "\0" in cleaned or len(cleaned.encode()) > MAX_SOCKET_PATH_BYTES:
        raise ContractError(f"socket path {path!r} must be at most {MAX_SOCKET_PATH_BYTES} bytes long, without NUL")
    return cleaned
