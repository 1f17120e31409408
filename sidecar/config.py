"""The sidecar's settings, read once from the environment (contract 7.1, with its chapter 21 rows)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
MAX_CONCURRENCY: Final = 1024

_Value = TypeVar("_Value")


class ConfigError(ValueError):
    """Settings that cannot be used; `problems` has one line for each, and names its variable."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that the sidecar is told. Times are seconds."""

    nats_url: str
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
        worker_name = read(WORKER_NAME_ENV, None, str)
        default_consumer = sidecar_consumer(worker_name or "")
        max_deliver = read(MAX_DELIVER_ENV, str(DEFAULT_MAX_DELIVER), _whole_number(1, 2**31 - 1))
        invoke_path = read(INVOKE_PATH_ENV, DEFAULT_INVOKE_PATH, lambda v: clean_http_path(v, DEFAULT_INVOKE_PATH))
        health_path = read(HEALTH_PATH_ENV, DEFAULT_HEALTH_PATH, lambda v: clean_http_path(v, DEFAULT_HEALTH_PATH))
        if invoke_path is not None and invoke_path == health_path:
            read.problems.append(f"{INVOKE_PATH_ENV} and {HEALTH_PATH_ENV} must differ, both are {invoke_path!r}")
        settings = {
            "nats_url": read(NATS_URL_ENV, None, _nats_url),
            "subjects": read(SUBJECT_PREFIX_ENV, "", lambda v: Subjects(normalise_prefix(v))),
            "stream_name": read(STREAM_NAME_ENV, "", lambda v: normalise_name(v, DEFAULT_STREAM, "stream name")),
            "worker_name": worker_name,
            "worker_namespace": read(WORKER_NAMESPACE_ENV, None, str),
            "request_id": read(REQUEST_ID_ENV, None, normalise_request_id),
            "consumer_name": read(CONSUMER_NAME_ENV, "", lambda v: normalise_name(v, default_consumer, "name")),
            "heartbeat_interval_s": read(HEARTBEAT_INTERVAL_ENV, "15s", _positive_duration),
            "ack_wait_s": read(ACK_WAIT_ENV, "5m", _positive_duration),
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


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
            raise ValueError(f"{text!r} must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _nats_url(text: str) -> str:
    """Check the form of a server URL; its text stays out of the message, it may hold credentials."""
    problem = "must be a server URL such as nats://host:4222"
    try:
        parts = urlsplit(text if "://" in text else f"nats://{text}")
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(problem) from None
    if not usable or parts.scheme not in {"nats", "tls", "ws", "wss"}:
        raise ValueError(problem)
    return text
