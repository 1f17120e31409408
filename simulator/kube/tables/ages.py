"""How long ago something was, as kubectl says it. Pure functions."""

import re
from datetime import UTC, datetime

UNKNOWN = "<unknown>"
INVALID = "<invalid>"
_MINUTE_S = 60
_HOUR_S = 60 * _MINUTE_S
_DAY_S = 24 * _HOUR_S
_YEAR_S = 365 * _DAY_S
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")

# Up to which time a duration is told in two units, and in which; above the last of a unit, in one.
_STEPS = (
    (10 * _MINUTE_S, _MINUTE_S, "m", 1, "s"),
    (3 * _HOUR_S, _MINUTE_S, "m", 0, ""),
    (8 * _HOUR_S, _HOUR_S, "h", _MINUTE_S, "m"),
    (2 * _DAY_S, _HOUR_S, "h", 0, ""),
    (8 * _DAY_S, _DAY_S, "d", _HOUR_S, "h"),
    (2 * _YEAR_S, _DAY_S, "d", 0, ""),
    (8 * _YEAR_S, _YEAR_S, "y", _DAY_S, "d"),
)


def parse_moment(text: str) -> datetime | None:
    """The moment that an API timestamp names, None if it is none."""
    if not _MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except ValueError:
        return None


def age(timestamp: str | None, now: datetime) -> str:
    """The time since an API timestamp; `<unknown>` where there is none."""
    if not timestamp:
        return UNKNOWN
    moment = parse_moment(timestamp)
    return INVALID if moment is None else duration((now - moment).total_seconds())


def duration(seconds: float) -> str:
    """A time in seconds in at most two units, the coarser the longer it is; one that lies ahead is `<invalid>`."""
    whole = int(seconds)
    if whole < -1:
        return INVALID
    if whole < 2 * _MINUTE_S:
        return f"{max(whole, 0)}s"
    for bound, unit_s, unit, rest_unit_s, rest_unit in _STEPS:
        if whole < bound:
            rest = whole % unit_s // rest_unit_s if rest_unit_s else 0
            return f"{whole // unit_s}{unit}" + (f"{rest}{rest_unit}" if rest else "")
    return f"{whole // _YEAR_S}y"
