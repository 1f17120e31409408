"""Users of this machine that pods have for themselves: claimed by one at a time, and never somebody's account."""

import os
import sys

import pytest

from simulator.errors import EnvironmentMissing, UsageError
from simulator.processes.user_range import ClaimedUser, parse_users

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has separate users for containers")
TWO = range(1_900_000_000, 1_900_000_002)


def test_ranges_in_text() -> None:
    assert parse_users("62000-63999") == range(62000, 64000)
    assert parse_users("7-7") == range(7, 8)


@pytest.mark.parametrize("text", ["", "7", "7-", "-7", "a-b", "0-7", "8-7", "7-2147483648", "7-8-9"])
def test_texts_that_are_no_range_of_users(text: str) -> None:
    with pytest.raises(UsageError, match="is no range of users; write FIRST-LAST"):
        parse_users(text)


def test_each_claim_is_of_another_user_until_all_are_taken() -> None:
    with ClaimedUser(TWO) as first, ClaimedUser(TWO) as second, ClaimedUser(TWO) as third:
        assert {first.uid(), second.uid()} == set(TWO)
        assert first.uid() == first.uid()
        with pytest.raises(EnvironmentMissing, match="the users 1900000000 to 1900000001 are all taken"):
            third.uid()
    with ClaimedUser(TWO) as again:
        assert again.uid() in TWO


def test_what_is_not_asked_for_is_not_claimed() -> None:
    with ClaimedUser(TWO[:1]), ClaimedUser(TWO[:1]) as other:
        assert other.uid() == TWO[0]


def test_an_account_of_this_machine_is_never_claimed() -> None:
    own = os.geteuid()
    with ClaimedUser(range(own, own + 1)) as user, pytest.raises(EnvironmentMissing):
        user.uid()


def test_without_a_claim_nobodys_processes_are_killed() -> None:
    with ClaimedUser(TWO) as user:
        user.kill_processes()
