"""Durations in Go syntax (contract 2.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.durations import DurationError, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300ms", 0.3),
        ("15s", 15),
        ("1h30m", 5400),
        ("2m15s", 135),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("7ns", 7e-9),
        ("72h", 259200),
        ("-15s", -15),
        ("+15s", 15),
        ("0", 0),
        ("-0", 0),
        ("0s", 0),
        (" 5m ", 300),
    ],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    ["", " ", "15", "s", "15 s", "15S", "15d", "1h 30m", "--1s", "-", "+", "1s!", "1,5s", "1e3s", "\u0661s", "inf"],
)
def test_anything_else_is_an_error_that_shows_the_form(text: str) -> None:
    with pytest.raises(DurationError, match="15s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(15, "15s"), (0.3, "300ms"), (1.25, "1250ms"), (0, "0s"), (3600, "3600s")]
)
def test_durations_are_written_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=10**9))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)
