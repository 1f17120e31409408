"""Which mounts let another user run a program whose files lie below closed directories."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.processes.users import User
from simulator.processes.view import mounts_for

USER = User(64102, 64102, (64100,))


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory that everybody may enter, all the way."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name).resolve()


def make(root: Path, *closed: str, files: tuple[str, ...] = ()) -> None:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name in closed:
        (root / name).chmod(0o700)


def shown(root: Path, *needs: str) -> list[tuple[str | None, str]]:
    """The mounts, relative to the root."""
    mounts = mounts_for(USER, [root / name for name in needs])
    return [(str(source.relative_to(root)) if source else None, str(at.relative_to(root))) for source, at in mounts]


def test_what_can_be_reached_needs_no_mounts(root: Path) -> None:
    make(root, files=("a/b/file",))
    assert shown(root, "a", "a/b/file", "absent/x") == []


def test_the_topmost_closed_directory_is_covered_once(root: Path) -> None:
    make(root, "a/b/c", "a/b", files=("a/b/c/one/f", "a/b/two/f", "a/other/f"))
    assert shown(root, "a/b/two", "a/b/c/one", "a/b/absent") == [
        (None, "a/b"),
        ("a/b/c/one", "a/b/c/one"),
        ("a/b/two", "a/b/two"),
    ]


def test_what_lies_in_something_that_is_shown_is_not_shown_twice(root: Path) -> None:
    make(root, "a", files=("a/b/c/f",))
    assert shown(root, "a/b/c", "a/b", "a/b/c/f") == [(None, "a"), ("a/b", "a/b")]


def test_a_closed_directory_within_a_shown_one_is_covered_in_its_turn(root: Path) -> None:
    make(root, "a", "a/b/private", files=("a/b/f", "a/b/private/home/f", "a/b/private/secret"))
    assert shown(root, "a/b", "a/b/private/home") == [
        (None, "a"),
        ("a/b", "a/b"),
        (None, "a/b/private"),
        ("a/b/private/home", "a/b/private/home"),
    ]


def test_a_needed_directory_that_is_closed_itself_is_shown_entry_by_entry(root: Path) -> None:
    """A checkout in a temporary directory, say: its files are readable, but nobody may enter it."""
    make(root, "project", files=("project/package/module.py", "project/setup.cfg"))
    (root / "project/broken").symlink_to("absent")
    assert shown(root, "project") == [
        (None, "project"),
        ("project/package", "project/package"),
        ("project/setup.cfg", "project/setup.cfg"),
    ]


def test_a_link_and_what_it_leads_to_are_both_shown(root: Path) -> None:
    make(root, "hidden", files=("hidden/python/bin",))
    (root / "closed").mkdir(mode=0o700)
    (root / "closed/venv").symlink_to(root / "hidden/python")
    assert shown(root, "closed/venv") == [
        (None, "closed"),
        ("closed/venv", "closed/venv"),
        (None, "hidden"),
        ("hidden/python", "hidden/python"),
    ]


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "may_enter"),
    [
        (0o700, 0, 0, False),
        (0o711, 0, 0, True),
        (0o710, 0, 64100, True),
        (0o701, 0, 64100, False),
        (0o710, 0, 64102, True),
        (0o100, 64102, 0, True),
        (0o677, 64102, 0, False),
    ],
)
def test_may_enter(mode: int, uid: int, gid: int, may_enter: bool) -> None:
    directory = os.stat_result((0o40000 | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))
    assert USER.may_enter(directory) is may_enter
    assert User(0, 0).may_enter(directory)


@pytest.mark.parametrize(
    ("user", "text"),
    [
        (User(1, 2), "1:2::n"),
        (User(1, 2, (3, 4)), "1:2:3,4:n"),
        (User(1, 2, (3,), no_new_privileges=False), "1:2:3"),
    ],
)
def test_how_the_launcher_is_told(user: User, text: str) -> None:
    assert str(user) == text
