"""Durations as Go reads them."""

import pytest

from simulator.kube.go_durations import duration_problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0", ""),
        ("1s", ""),
        ("-1.5h", ""),
        ("1h2m3.5s", ""),
        (".5ms", ""),
        ("10\u00b5s", ""),
        ("", 'time: invalid duration ""'),
        ("+", 'time: invalid duration "+"'),
        ("abc", 'time: invalid duration "abc"'),
        ("1h.s", 'time: invalid duration "1h.s"'),
        ("5", 'time: missing unit in duration "5"'),
        ("1x", 'time: unknown unit "x" in duration "1x"'),
    ],
)
def test_durations(text: str, problem: str) -> None:
    assert duration_problem(text) == problem
