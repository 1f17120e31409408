"""Durations as Go writes them, such as `1m30s`."""

import re
from typing import Final

from simulator.kube.go_text import go_quoted

_UNITS: Final = ("ns", "us", "\u00b5s", "\u03bcs", "ms", "s", "m", "h")
_PART: Final = re.compile(r"(?:\d+\.?\d*|\.\d+)([^\d.]*)")


def duration_problem(text: str) -> str:
    """Why the text is no duration, in the words of Go; empty if it is one."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return ""
    if not rest:
        return f"time: invalid duration {go_quoted(text)}"
    while rest:
        part = _PART.match(rest)
        if part is None:
            return f"time: invalid duration {go_quoted(text)}"
        unit = part[1]
        if not unit:
            return f"time: missing unit in duration {go_quoted(text)}"
        if unit not in _UNITS:
            return f"time: unknown unit {go_quoted(unit)} in duration {go_quoted(text)}"
        rest = rest[part.end() :]
    return ""
