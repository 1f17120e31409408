"""Keys of results: readable where the invocation's ID allows it, valid and never shared whatever it is."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.results.keys import invocation_token, result_key

LONGEST_TOKEN = 200
"""A subject goes into one line of the protocol, of which the server takes 4096 bytes."""

texts = st.text(st.characters(codec="utf-8"), max_size=40)


@pytest.mark.parametrize("invocation_id", ["inv-5d0c1a7be2f94c63a1b07f2e88d4310f", "A_b-9", "-", "x" * 64])
def test_an_id_that_the_api_allows_is_its_own_token(invocation_id: str) -> None:
    assert result_key("tts-small", invocation_id) == f"tts-small.{invocation_id}"
    assert result_key("*", invocation_id) == f"*.{invocation_id}"


@pytest.mark.parametrize("invocation_id", ["", "a.b", "a b", "*", ">", "é", "a\nb", "=", "=YQ==", "\0", "x" * 5_000])
def test_any_other_id_becomes_one_token_that_no_allowed_id_has(invocation_id: str) -> None:
    token = invocation_token(invocation_id)
    assert re.fullmatch(r"=[A-Za-z0-9_=-]*", token)
    assert len(token) <= LONGEST_TOKEN


def test_what_is_hashed_is_never_mistaken_for_what_is_encoded() -> None:
    assert re.fullmatch(r"==[0-9a-f]{64}", invocation_token("x" * 129))
    assert re.fullmatch(r"=[A-Za-z0-9_-]+=*", invocation_token("é" * 64))


@settings(deadline=None)
@given(texts)
def test_a_token_is_always_valid_and_short(invocation_id: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_=-]+", invocation_token(invocation_id))
    assert len(invocation_token(invocation_id * 30)) <= LONGEST_TOKEN


@settings(deadline=None)
@given(texts, texts)
def test_two_ids_never_share_a_token(one: str, other: str) -> None:
    assert (invocation_token(one) == invocation_token(other)) == (one == other)


@settings(deadline=None)
@given(texts, st.sampled_from([1, 30]))
def test_an_id_that_looks_like_anothers_token_is_not_taken_for_it(text: str, times: int) -> None:
    token = invocation_token(text * times)
    assert (invocation_token(token) == token) == (token == text * times)
