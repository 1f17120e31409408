"""The warden's rules, without a process of its own."""

import fcntl
import os
import signal
import time
from pathlib import Path

import pytest

from simulator.processes import warden


@pytest.mark.parametrize(
    ("mode", "locked", "occupied", "removed"),
    [
        (0o1777, False, False, True),
        (0o1777, True, False, False),
        (0o1777, False, True, False),
        (0o755, False, False, False),
    ],
    ids=["unused", "another platform uses it", "not empty", "not made by a platform"],
)
def test_remove_if_unused(tmp_path: Path, mode: int, locked: bool, occupied: bool, removed: bool) -> None:
    point = tmp_path / "point"
    point.mkdir()
    point.chmod(mode)
    if occupied:
        (point / "file").touch()
    descriptor = os.open(point, os.O_RDONLY)
    try:
        if locked:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        assert warden.remove_if_unused(str(point)) is removed
        assert point.exists() is not removed
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("kind", ["absent", "file", "link"])
def test_remove_if_unused_touches_directories_only(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "file":
        path.touch()
    if kind == "link":
        path.symlink_to(tmp_path)
    assert not warden.remove_if_unused(str(path))
    assert path.is_symlink() == (kind == "link")


@pytest.mark.parametrize(
    ("lines", "killed"),
    [
        (["group 7000001\n"], [7000001]),
        (["group 7000001\n", "group 7000002\n", "forget 7000001\n"], [7000002]),
        (["group 7000001"], []),
        (["group -1\n", "group 1x\n", "group\n", "nonsense 7000001\n", "\n"], []),
        (["forget 7000001\n"], []),
    ],
)
def test_groups(monkeypatch: pytest.MonkeyPatch, lines: list[str], killed: list[int]) -> None:
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "killpg", lambda group, number: signals.append((group, number)))
    registry = warden.Registry()
    for line in lines:
        registry.note(line)
    registry.end_all()
    assert signals == [(group, signal.SIGKILL) for group in killed]


@pytest.mark.parametrize(("started", "later", "killed"), [("5", "5", 1), ("5", "6", 0), ("5", "", 1), ("", "", 1)])
def test_a_number_that_went_to_another_process_is_spared(
    monkeypatch: pytest.MonkeyPatch, started: str, later: str, killed: int
) -> None:
    answers = iter([started, later])
    signals: list[int] = []
    monkeypatch.setattr(warden, "start_time", lambda pid: next(answers))
    monkeypatch.setattr(os, "killpg", lambda group, number: signals.append(group))
    registry = warden.Registry()
    registry.note("group 7000001\n")
    registry.end_all()
    assert len(signals) == killed


def test_start_time_is_that_of_the_process() -> None:
    assert warden.start_time(os.getpid()).isdigit()
    assert not warden.start_time(2**22 + 1)


def test_directories_go(tmp_path: Path) -> None:
    (tmp_path / "a b/c").mkdir(parents=True)
    (tmp_path / "a b/c/file").touch()
    registry = warden.Registry()
    registry.note(f"dir {tmp_path / 'a b'}\n")
    registry.note(f"dir {tmp_path / 'never was'}\n")
    registry.end_all()
    assert not list(tmp_path.iterdir())


def test_mount_point_is_removed_when_a_dying_process_lets_it_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = tmp_path / "point"
    point.mkdir()
    point.chmod(warden.MOUNT_POINT_MODE)
    descriptor = os.open(point, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    # The first pause of the warden is the moment in which the kernel closes the files of the process.
    monkeypatch.setattr(time, "sleep", lambda seconds: os.close(descriptor))
    registry = warden.Registry()
    registry.note(f"mount {point}\n")
    registry.end_all()
    assert not point.exists()


def test_mount_point_that_was_dealt_with_is_left_alone(tmp_path: Path) -> None:
    point = tmp_path / "point"
    point.mkdir()
    point.chmod(warden.MOUNT_POINT_MODE)
    registry = warden.Registry()
    registry.note(f"mount {point}\n")
    registry.note(f"unmount {point}\n")
    registry.note("unmount /never/was\n")
    registry.end_all()
    assert point.exists()
