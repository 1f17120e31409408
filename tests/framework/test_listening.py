"""The socket file's rules: nothing that is not ours is removed, and nothing of ours stays."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from framework.contract import MAX_SOCKET_PATH_BYTES, ContractError
from framework.listening import ListeningSocket, SocketError, listen_at


@contextmanager
def listening(path: Path) -> Iterator[ListeningSocket]:
    listener = listen_at(str(path))
    try:
        yield listener
    finally:
        listener.remove_file()
        listener.socket.close()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(short_dir: Path, umask: int) -> None:
    previous = os.umask(umask)
    try:
        with listening(short_dir / "a" / "b" / "f.sock") as listener:
            path = Path(listener.path)
            assert mode_of(path) == 0o660
            assert [mode_of(path.parent), mode_of(path.parent.parent)] == [0o755, 0o755]
        assert os.umask(umask) == umask
    finally:
        os.umask(previous)
    assert not path.exists()


def test_a_socket_that_nobody_serves_is_replaced(short_dir: Path) -> None:
    path = short_dir / "f.sock"
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(str(path))
    left_over.close()
    with listening(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_served_socket_is_refused_and_left_alone(short_dir: Path) -> None:
    path = short_dir / "f.sock"
    with listening(path):
        with pytest.raises(SocketError, match="another program serves"):
            listen_at(str(path))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_socket_with_a_full_backlog_counts_as_served(short_dir: Path) -> None:
    path = short_dir / "f.sock"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as waiting:
        server.bind(str(path))
        server.listen(0)
        waiting.connect(str(path))
        with pytest.raises(SocketError, match="another program serves"):
            listen_at(str(path))


@pytest.mark.parametrize("kind", ["file", "directory", "link to file", "link to socket", "dangling link"])
def test_anything_but_a_socket_is_refused_and_left_alone(short_dir: Path, kind: str) -> None:
    path, other = short_dir / "f.sock", short_dir / "other"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        if kind == "link to file":
            other.write_text("precious")
        elif kind == "link to socket":
            with socket.socket(socket.AF_UNIX) as left_over:
                left_over.bind(str(other))
        path.symlink_to(other)
    before = path.lstat()
    with pytest.raises(SocketError, match="not a socket"):
        listen_at(str(path))
    assert path.lstat().st_ino == before.st_ino


@pytest.mark.parametrize(("length", "allowed"), [(MAX_SOCKET_PATH_BYTES, True), (MAX_SOCKET_PATH_BYTES + 1, False)])
def test_the_path_limit_is_in_bytes(short_dir: Path, length: int, allowed: bool) -> None:
    directory = str(short_dir) + "/"
    name = "é" + "x" * (length - len(directory) - 2)
    path = Path(directory + name)
    assert len(str(path).encode()) == length
    if allowed:
        with listening(path):
            assert path.is_socket()
    else:
        with pytest.raises(ContractError, match="1 to 107 bytes"):
            listen_at(str(path))


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(ContractError, match="0 bytes"):
        listen_at("")


def test_a_path_below_a_file_is_refused_with_the_systems_reason(short_dir: Path) -> None:
    (short_dir / "file").write_text("")
    with pytest.raises(SocketError, match="cannot make socket"):
        listen_at(str(short_dir / "file" / "f.sock"))


def test_a_successors_socket_is_not_removed(short_dir: Path) -> None:
    path = short_dir / "f.sock"
    first = listen_at(str(path))
    os.link(path, short_dir / "keeps-the-inode")
    path.unlink()
    with listening(path):
        first.remove_file()
        first.socket.close()
        assert path.is_socket()


def test_the_group_of_a_setgid_directory_reaches_the_socket(short_dir: Path) -> None:
    """S24: a sidecar of another user, with the directory's group, may connect."""
    group = _another_group()
    shared = short_dir / "shared"
    shared.mkdir()
    os.chown(shared, -1, group)
    shared.chmod(0o2775)
    with listening(shared / "made" / "f.sock") as listener:
        found = Path(listener.path).stat()
        assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (group, 0o660)
        assert mode_of(shared) == 0o2775


def _another_group() -> int:
    others = {54321} if os.geteuid() == 0 else set(os.getgroups()) - {os.getegid()}
    if not others:
        pytest.skip("this user has one group only")
    return others.pop()


@pytest.mark.parametrize(("owner", "allowed"), [("us", True), ("root", True), ("another user", False)])
def test_a_directory_may_be_a_link_of_ours_or_roots_only(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch, owner: str, allowed: bool
) -> None:
    real, link = short_dir / "real", short_dir / "link"
    real.mkdir()
    link.symlink_to(real)
    made_by = link.lstat().st_uid
    if owner == "root" and made_by != 0:
        pytest.skip("only root can make a link of root's")
    if owner == "another user" and made_by == 0:
        os.lchown(link, 54321, -1)
    elif owner != "us":
        monkeypatch.setattr(os, "geteuid", lambda: made_by + 1)
    if allowed:
        with listening(link / "f.sock"):
            assert (real / "f.sock").is_socket()
    else:
        with pytest.raises(SocketError, match="is a link of user"):
            listen_at(str(link / "f.sock"))
        assert list(real.iterdir()) == []
