"""Values in the words of the real server's messages."""

from typing import Any

import pytest

from simulator.kube.go_text import go_number, go_quoted, go_shown, go_type, go_value


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", '""'),
        ("plain", '"plain"'),
        ("né", '"né"'),
        ('a"b\\c', r'"a\"b\\c"'),
        ("a\nb\tc\x00\x7f", r'"a\nb\tc\x00\x7f"'),
        ("\u200b\ufeff", r'"\u200b\ufeff"'),
        ("\U000e0001", r'"\U000e0001"'),
        ("<&>", '"<&>"'),
    ],
)
def test_a_text_between_quotes(text: str, quoted: str) -> None:
    assert go_quoted(text) == go_shown(text) == go_value(text, quoted=True) == quoted


@pytest.mark.parametrize(
    ("number", "written"),
    [(0.0, "0"), (1.5, "1.5"), (100000.0, "100000"), (1e6, "1e+06"), (0.0001, "0.0001"), (1.25e-5, "1.25e-05")],
)
def test_numbers(number: float, written: str) -> None:
    assert go_number(number) == go_shown(number) == written


@pytest.mark.parametrize(
    ("value", "shown", "go_type_name", "printed", "literal"),
    [
        (None, "null", "<nil>", "<nil>", "interface {}(nil)"),
        (True, "true", "bool", "true", "true"),
        (5, "5", "int64", "5", "5"),
        (["a", 1], '["a",1]', "[]interface {}", "[a 1]", '[]interface {}{"a", 1}'),
        (
            {"b": "<", "a": 1},
            '{"a":1,"b":"\\u003c"}',
            "map[string]interface {}",
            "map[a:1 b:<]",
            'map[string]interface {}{"a":1, "b":"<"}',
        ),
    ],
)
def test_other_values(value: Any, shown: str, go_type_name: str, printed: str, literal: str) -> None:
    assert go_shown(value, in_order=True) == shown
    assert go_type(value) == go_type_name
    assert (go_value(value), go_value(value, quoted=True)) == (printed, literal)
