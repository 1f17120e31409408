"""Points in time as the API reads and writes them: to the second, and for leases and events to the microsecond."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

SECONDS: Final = "2006-01-02T15:04:05Z07:00"
MICROSECONDS: Final = "2006-01-02T15:04:05.000000Z07:00"
"""The layouts, written as the real server names them in its messages: by an example."""

_DATE = (
    *(("2006", r"\d{4}"), ("-", "-"), ("01", r"\d\d"), ("-", "-"), ("02", r"\d\d"), ("T", "T")),
    *(("15", r"\d\d?"), (":", ":"), ("04", r"\d\d"), (":", ":")),
)
_ZONE = ("Z07:00", r"Z|[-+]\d\d:\d\d")
_PARTS: Final = {
    SECONDS: (*_DATE, ("05", r"\d\d(?:[.,]\d+)?"), _ZONE),
    MICROSECONDS: (*_DATE, ("05", r"\d\d"), (".000000", r"[.,]\d{6}"), _ZONE),
}


class TimeError(ValueError):
    """The text is not a point in time; the message is the API's own."""


@lru_cache(maxsize=1024)  # the same few times are read again at every write of an object
def canonical_time(text: str, layout: str) -> str:
    """The point in time as it is stored: in UTC, to the second or to the microsecond.

    Raises:
        TimeError: the text does not have the layout.
    """
    moment = _parsed(text, layout).astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S" + (".%fZ" if layout == MICROSECONDS else "Z"))


def _parsed(text: str, layout: str) -> datetime:
    found = {}
    rest = text
    for part, pattern in _PARTS[layout]:
        match = re.match(pattern, rest)
        if match is None:
            raise TimeError(
                f"{_parsing(text)} as {json.dumps(layout)}: cannot parse {_quoted(rest)} as {_quoted(part)}"
            )
        found[part] = match[0]
        rest = rest[match.end() :]
    if rest:
        raise TimeError(f"{_parsing(text)}: extra text: {_quoted(rest)}")
    return _moment(text, found)


def _moment(text: str, found: dict[str, str]) -> datetime:
    second, _, decimals = re.sub("[.,]", ".", found["05"] + found.get(".000000", "")).partition(".")
    year, month, day, hour, minute = (int(found[part]) for part in ("2006", "01", "02", "15", "04"))
    microsecond = int(f"{decimals:0<6}"[:6])
    zone = _zone(found["Z07:00"])
    try:
        return datetime(year, month, day, hour, minute, int(second), microsecond, tzinfo=zone)
    except ValueError as error:
        named = re.match("(year|month|day|hour|minute|second)", str(error))
        raise TimeError(f"{_parsing(text)}: {named[0] if named else 'day'} out of range") from error


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-offset if text[0] == "-" else offset)


def _parsing(text: str) -> str:
    return f"parsing time {_quoted(text)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
