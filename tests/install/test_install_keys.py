"""The keys of an installation: kept in one Secret, and all that follows from them the same each time."""

import base64

import pytest

from sidecar.stream import StreamSettings
from sidecar.subjects import Subjects
from simulator.errors import UsageError
from simulator.install.keys import ROLES, PlatformKeys, encoded
from tests.install.fixed_keys import fixed_keys

STREAM = StreamSettings()


def test_keys_come_back_from_their_secret() -> None:
    keys = PlatformKeys.fresh()
    assert PlatformKeys.from_secret(keys.secret_data()) == keys


def test_the_same_keys_give_the_same_tokens() -> None:
    first, second = fixed_keys(), fixed_keys()
    assert first.server_settings(STREAM) == second.server_settings(STREAM)
    for role in ROLES:
        assert first.credentials(role, STREAM) == second.credentials(role, STREAM)


def test_each_role_is_somebody_else() -> None:
    assert len({fixed_keys().credentials(role, STREAM) for role in ROLES}) == len(ROLES) == 7


def test_other_subjects_give_other_tokens_for_the_same_keys() -> None:
    other = StreamSettings(subjects=Subjects("other"))
    assert fixed_keys().credentials("api", other) != fixed_keys().credentials("api", STREAM)
    assert fixed_keys().server_settings(other)["operator"] == fixed_keys().server_settings(STREAM)["operator"]


def test_a_role_that_is_new_gets_a_key_and_the_others_keep_theirs() -> None:
    before = fixed_keys()
    data = {name: value for name, value in before.secret_data().items() if name != "results.nk"}
    after = PlatformKeys.from_secret(data)
    assert {name for name in before.seeds if after.seeds[name] != before.seeds[name]} == {"results.nk"}


@pytest.mark.parametrize(
    "changes",
    [
        {"operator.nk": None},
        {"queue.nk": None},
        {"issued-at": None},
        {"issued-at": encoded("soon")},
        {"system.nk": encoded("SAgarbage")},
        {"api.nk": "not base64!"},
        {"api.nk": base64.b64encode(b"\xff\xfe").decode()},
    ],
)
def test_a_secret_that_holds_something_else_is_refused_and_not_told(changes: dict[str, str | None]) -> None:
    keys = fixed_keys()
    data = {name: value for name, value in {**keys.secret_data(), **changes}.items() if value is not None}
    with pytest.raises(UsageError) as refused:
        PlatformKeys.from_secret(data)
    assert "uninstall" in str(refused.value)
    assert not [seed for seed in keys.seeds.values() if seed in str(refused.value)]


def test_keys_do_not_show_themselves() -> None:
    keys = fixed_keys()
    assert not [seed for seed in keys.seeds.values() if seed in repr(keys)]
