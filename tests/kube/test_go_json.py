"""JSON as the real server reads it, for any text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.kube.schema.go_json import JsonError, Repeated, duplicates, parse, plain

INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
SCALARS = st.none() | st.booleans() | INT64 | st.text() | st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
FRAGMENTS = st.lists(
    st.sampled_from(["{", "}", "[", "]", ",", ":", "1", "-", ".5", "e3", '"', "\\", "u00e9", "tru", "e", " "])
)


@given(VALUES)
def test_what_json_says_is_what_is_read(value: Any) -> None:
    assert plain(parse(json.dumps(value).encode())) == value


@given(FRAGMENTS)
def test_a_text_is_refused_only_if_it_is_no_json(fragments: list[str]) -> None:
    text = "".join(fragments)
    try:
        json.loads(text)
    except ValueError:
        with pytest.raises(JsonError, match=r"unexpected end of JSON input|invalid character "):
            parse(text.encode())
    else:
        parse(text.encode())


@given(st.binary(max_size=20))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        json.loads(body.decode(errors="replace"))
    except ValueError:
        with pytest.raises(JsonError, match=r"^(unexpected end of JSON input$|invalid character ')"):
            parse(body)
    else:
        parse(body)


def test_repeated_names_are_found_in_the_order_of_the_text() -> None:
    value = parse(b'{"b":[{"x":1,"x":2}],"a":{"y":1,"y":2},"a":3,"a":4}')
    assert isinstance(value, Repeated)
    assert list(duplicates(value)) == ["b[0].x", "a.y", "a", "a"]
    assert plain(value) == {"b": [{"x": 2}], "a": 4}


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("1.0", "1"),
        ("1e2", "100"),
        ("1.50", "1.5"),
        ("-0", "0"),
        ("12345678901234567890", "1.2345678901234567e+19"),
    ],
)
def test_numbers_that_are_stored(text: str, stored: str) -> None:
    assert json.loads(stored) == plain(parse(text.encode()))


def test_half_a_character_is_replaced() -> None:
    assert parse(rb'["\ud800", "\\ud800", "\ud83d\ude00"]') == ["\ufffd", "\\ud800", "\U0001f600"]
