"""The sidecar's settings, read once from the environment (contract 7.1, with its chapter 21 rows)."""

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from framework.contract import (
    DEFAULT_HEALTH_PATH,
    DEFAULT_INVOKE_PATH,
    HEALTH_PATH_ENV,
    INVOKE_PATH_ENV,
    SOCKET_PATH_ENV,
    clean_http_path,
    clean_socket_path,
)
from sidecar.concurrency import MAX_CONCURRENCY
from sidecar.durations import parse_duration
from sidecar.subjects import (
    DEFAULT_STREAM,
    Subjects,
    normalise_name,
    normalise_prefix,
    normalise_request_id,
    sidecar_consumer,
)

NATS_URL_ENV: Final = "SERVERLESS_NATS_URL"
NATS_CREDENTIALS_FILE_ENV: Final = "SERVERLESS_NATS_CREDENTIALS_FILE"
NATS_CA_FILE_ENV: Final = "SERVERLESS_NATS_CA_FILE"
NATS_CERT_FILE_ENV: Final = "SERVERLESS_NATS_CERT_FILE"
NATS_KEY_FILE_ENV: Final = "SERVERLESS_NATS_KEY_FILE"
SUBJECT_PREFIX_ENV: Final = "SERVERLESS_SUBJECT_PREFIX"
STREAM_NAME_ENV: Final = "SERVERLESS_STREAM_NAME"
WORKER_NAME_ENV: Final = "SERVERLESS_WORKER_NAME"
WORKER_NAMESPACE_ENV: Final = "SERVERLESS_WORKER_NAMESPACE"
REQUEST_ID_ENV: Final = "SERVERLESS_REQUEST_ID"
CONSUMER_NAME_ENV: Final = "SERVERLESS_WORKER_CONSUMER_NAME"
HEARTBEAT_INTERVAL_ENV: Final = "SERVERLESS_HEARTBEAT_INTERVAL"
ACK_WAIT_ENV: Final = "SERVERLESS_DISPATCH_ACK_WAIT"
MAX_DELIVER_ENV: Final = "SERVERLESS_DISPATCH_MAX_DELIVER"
BACKOFF_ENV: Final = "SERVERLESS_DISPATCH_BACKOFF"
HEALTH_PORT_ENV: Final = "SERVERLESS_SIDECAR_HEALTH_PORT"
HEALTH_HOST_ENV: Final = "SERVERLESS_SIDECAR_HEALTH_HOST"
CONCURRENCY_ENV: Final = "SERVERLESS_MAX_CONCURRENCY"
DRAIN_TIMEOUT_ENV: Final = "SERVERLESS_DRAIN_TIMEOUT"

DEFAULT_MAX_DELIVER: Final = 5
DEFAULT_BACKOFF: Final = "2s,10s,30s"
MIN_ACK_WAIT_S: Final = 1.0
"""In-progress acks go out at a third of the ack wait: a shorter one redelivers what is only slow to be acked."""

_Value = TypeVar("_Value")


class ConfigError(ValueError):
    """Settings that cannot be used; `problems` has one line for each, and names its variable."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files for the connection to NATS (S22); `certificate` and `key` are both set or both None.

    Without `ca` the server is checked against the system's authorities.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Load the files into the settings of a client's connection, TLS 1.2 or newer.

        Raises:
            OSError: a file is gone, or is not what it should be (`ssl.SSLError`).
        """
        context = ssl.create_default_context(cafile=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            # An encrypted key must fail here, not ask for its password on a terminal.
            context.load_cert_chain(self.certificate, self.key, password="")
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that the sidecar is told. Times are seconds. `nats_url` may hold a password: it has no `repr`."""

    nats_url: str = field(repr=False)
    credentials_file: Path | None
    tls: TlsFiles | None
    subjects: Subjects
    stream_name: str
    worker_name: str
    worker_namespace: str
    request_id: str
    consumer_name: str
    heartbeat_interval_s: float
    ack_wait_s: float
    max_deliver: int
    backoff_s: tuple[float, ...]
    socket_path: str
    invoke_path: str
    health_path: str
    health_host: str
    health_port: int
    concurrency: int
    drain_timeout_s: float

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Config":
        """Read and check all settings; an empty variable counts as unset.

        Raises:
            ConfigError: with every problem at once.
        """
        read = _Reader(environ)
        worker_name = read(WORKER_NAME_ENV, None, _printable)
        default_consumer = sidecar_consumer(worker_name or "")
        max_deliver = read(MAX_DELIVER_ENV, str(DEFAULT_MAX_DELIVER), _whole_number(1, 2**31 - 1))
        invoke_path = read(INVOKE_PATH_ENV, DEFAULT_INVOKE_PATH, lambda v: clean_http_path(v, DEFAULT_INVOKE_PATH))
        health_path = read(HEALTH_PATH_ENV, DEFAULT_HEALTH_PATH, lambda v: clean_http_path(v, DEFAULT_HEALTH_PATH))
        if invoke_path is not None and invoke_path == health_path:
            read.problems.append(f"{INVOKE_PATH_ENV} and {HEALTH_PATH_ENV} must differ, both are {invoke_path!r}")
        settings = {
            **_nats_settings(read),
            "subjects": read(SUBJECT_PREFIX_ENV, "", lambda v: Subjects(normalise_prefix(v))),
            "stream_name": read(STREAM_NAME_ENV, "", lambda v: normalise_name(v, DEFAULT_STREAM, "stream name")),
            "worker_name": worker_name,
            "worker_namespace": read(WORKER_NAMESPACE_ENV, None, _printable),
            "request_id": read(REQUEST_ID_ENV, None, normalise_request_id),
            "consumer_name": read(CONSUMER_NAME_ENV, "", lambda v: normalise_name(v, default_consumer, "name")),
            "heartbeat_interval_s": read(HEARTBEAT_INTERVAL_ENV, "15s", _positive_duration),
            "ack_wait_s": read(ACK_WAIT_ENV, "5m", _ack_wait),
            "max_deliver": max_deliver,
            "backoff_s": read(BACKOFF_ENV, "", lambda v: backoff_delays(v, max_deliver or DEFAULT_MAX_DELIVER)),
            "socket_path": read(SOCKET_PATH_ENV, "", clean_socket_path),
            "invoke_path": invoke_path,
            "health_path": health_path,
            "health_host": read(HEALTH_HOST_ENV, "127.0.0.1", str),
            "health_port": read(HEALTH_PORT_ENV, "8091", _whole_number(1, 65535)),
            "concurrency": read(CONCURRENCY_ENV, "1", _whole_number(1, MAX_CONCURRENCY)),
            "drain_timeout_s": read(DRAIN_TIMEOUT_ENV, "20s", _positive_duration),
        }
        if read.problems:
            raise ConfigError(read.problems)
        return cls(**settings)  # type: ignore[arg-type] # no problem means that every value was read


class _Reader:
    """Reads one variable after the other and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def has(self, name: str) -> bool:
        """Whether the variable is set."""
        return bool(self._environ.get(name, "").strip())

    def __call__(self, name: str, default: str | None, parse: Callable[[str], _Value]) -> _Value | None:
        """Return the parsed value; without a `default` the variable is required."""
        text = self._environ.get(name, "").strip() or default
        if text is None:
            self.problems.append(f"{name} is required")
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.problems.append(f"{name}: {error}")
            return None


def _nats_settings(read: _Reader) -> dict[str, object]:
    """The server's URL, and what proves who is who: two ways to log in at once are a mistake."""
    url = read(NATS_URL_ENV, None, _nats_url)
    credentials = read(NATS_CREDENTIALS_FILE_ENV, "", _readable_file)
    ca = read(NATS_CA_FILE_ENV, "", _readable_file)
    certificate = read(NATS_CERT_FILE_ENV, "", _readable_file)
    key = read(NATS_KEY_FILE_ENV, "", _readable_file)
    if url is not None and read.has(NATS_CREDENTIALS_FILE_ENV) and "@" in urlsplit(url).netloc:
        read.problems.append(f"{NATS_CREDENTIALS_FILE_ENV}: {NATS_URL_ENV} has a user too, set one of them only")
    if read.has(NATS_CERT_FILE_ENV) != read.has(NATS_KEY_FILE_ENV):
        read.problems.append(f"{NATS_CERT_FILE_ENV} and {NATS_KEY_FILE_ENV} must be set together")
    tls = TlsFiles(ca=ca, certificate=certificate, key=key) if ca or certificate else None
    if tls is not None and not read.problems:
        try:
            tls.context()
        except OSError as error:
            files = f"{NATS_CA_FILE_ENV}, {NATS_CERT_FILE_ENV}, {NATS_KEY_FILE_ENV}"
            read.problems.append(f"{files}: not a set of PEM files that fit together: {error.strerror}")
    return {"nats_url": url, "credentials_file": credentials, "tls": tls}


def backoff_delays(text: str, max_deliver: int) -> tuple[float, ...]:
    """Read a comma-separated list of delays in seconds, not longer than `max_deliver` (contract 2.5).

    An empty list is the default, cut to `max_deliver` (Q5).

    Raises:
        ValueError: an entry is no positive duration, or the list is too long.
    """
    if not text.strip():
        return backoff_delays(DEFAULT_BACKOFF, DEFAULT_MAX_DELIVER)[:max_deliver]
    delays = tuple(_positive_duration(entry) for entry in text.split(","))
    if len(delays) > max_deliver:
        raise ValueError(f"{len(delays)} delays, but {MAX_DELIVER_ENV} allows {max_deliver}")
    return delays


def _positive_duration(text: str) -> float:
    seconds = parse_duration(text)
    if seconds <= 0:
        raise ValueError(f"{text!r} must be longer than nothing, such as 15s")
    return seconds


def _ack_wait(text: str) -> float:
    seconds = _positive_duration(text)
    if seconds < MIN_ACK_WAIT_S:
        raise ValueError(f"{text!r} must be at least {MIN_ACK_WAIT_S:g}s")
    return seconds


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r} must not contain control characters")
    return text


def _readable_file(text: str) -> Path | None:
    """Check that the file can be read, without reading it; empty is None."""
    if not text:
        return None
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"there is no file {text!r}")
    if not os.access(path, os.R_OK):
        raise ValueError(f"{text!r} may not be read by this user")
    return path


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
            raise ValueError(f"{text!r} must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _nats_url(text: str) -> str:
    """Check a server's URL and give it a scheme; its text stays out of the message, it may hold credentials."""
    problem = "must be a server URL such as nats://host:4222"
    url = text if "://" in text else f"nats://{text}"
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(problem) from None
    if not usable or parts.scheme not in {"nats", "tls", "ws", "wss"}:
        raise ValueError(problem)
    return url
