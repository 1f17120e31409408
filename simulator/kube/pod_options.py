"""The parameters of requests for logs, commands, streams and ports, read and checked as the real server does."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from multidict import MultiMapping

from simulator.kube.builtin.times import SECONDS, TimeError, canonical_time
from simulator.kube.kinds import Kind
from simulator.kube.listing import bool_parameter, int_parameter
from simulator.kube.pod_streams import ExecOptions, LogOptions, StreamOptions
from simulator.kube.status import Cause, bad_request, forbidden_value, invalid, invalid_value

_LOG_OPTIONS: Final = Kind("", "v1", "PodLogOptions", "podlogoptions", has_status=False, has_generation=False)
_LEAST: Final = {"tailLines": (0, "greater than or equal to 0"), "sinceSeconds": (1, "greater than 0"),
                 "limitBytes": (1, "greater than 0")}  # fmt: skip


def log_options(query: Mapping[str, str], pod: str, now_ns: int) -> LogOptions:
    """What of a pod's log is asked for at the time `now_ns`, in nanoseconds of the epoch.

    Raises:
        ApiFailure: 400 a value cannot be read, 422 it makes no sense.
    """
    numbers = {name: int_parameter(query, name) for name in _LEAST}
    since_ns = _since_time_ns(query.get("sinceTime", ""))
    if causes := list(_causes(numbers, has_time=bool(since_ns))):
        raise invalid(_LOG_OPTIONS, pod, causes)
    if (seconds := numbers["sinceSeconds"]) is not None:
        since_ns = now_ns - seconds * 10**9
    return LogOptions(
        follow=bool_parameter(query, "follow"),
        previous=bool_parameter(query, "previous"),
        timestamps=bool_parameter(query, "timestamps"),
        tail_lines=numbers["tailLines"],
        limit_bytes=numbers["limitBytes"],
        since_ns=since_ns,
    )


def exec_options(query: MultiMapping[str]) -> ExecOptions:
    """The command that a request asks for.

    Raises:
        ApiFailure: 400 there is none, or nobody would see anything of it.
    """
    command = tuple(query.getall("command", ()))
    if not command:
        raise bad_request("you must specify at least one command for the container")
    return ExecOptions(command, **_streams(query))


def attach_options(query: Mapping[str, str]) -> StreamOptions:
    """The streams that a request asks for.

    Raises:
        ApiFailure: 400 there are none.
    """
    return StreamOptions(**_streams(query))


def _streams(query: Mapping[str, str]) -> dict[str, bool]:
    streams = {name: bool_parameter(query, name) for name in ("stdin", "stdout", "stderr", "tty")}
    if not any(streams[name] for name in ("stdin", "stdout", "stderr")):
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    return streams


def asked_ports(query: MultiMapping[str]) -> list[int]:
    """The ports that a request by WebSocket names; none if it leaves that for later.

    Raises:
        ApiFailure: 400 one of them is no port.
    """
    numbers = []
    for text in (part for value in query.getall("ports", ()) for part in value.split(",")):
        if (number := port_number(text)) is None:
            raise bad_request(f'cannot convert to []int32: "{text}" is no port')
        numbers.append(number)
    return numbers


def port_number(text: str) -> int | None:
    """The port that the text names, or None."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return number if 1 <= (number := int(text)) <= 0xFFFF else None


def _causes(numbers: Mapping[str, int | None], *, has_time: bool) -> Iterator[Cause]:
    for name, (least, rule) in _LEAST.items():
        number = numbers[name]
        if number is not None and number < least:
            yield invalid_value(name, str(number), f"must be {rule}")
    if has_time and numbers["sinceSeconds"] is not None:
        yield forbidden_value("", "at most one of `sinceTime` or `sinceSeconds` may be specified")


def _since_time_ns(text: str) -> int:
    if text in ("", "null"):
        return 0
    try:
        moment = canonical_time(text, SECONDS)
    except TimeError as error:
        raise bad_request(str(error)) from error
    return int(datetime.fromisoformat(moment).timestamp()) * 10**9
