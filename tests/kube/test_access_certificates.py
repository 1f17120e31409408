"""The server's certificate between two starts: where it is kept, and when another one is made."""

import contextlib
import ssl
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from simulator.kube.access import cache, certificates, serving
from simulator.kube.access.serving import FILE, RENEW_S, ServerIdentity, new_identity, server_identity


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / cache.NAME


def test_it_is_kept_for_its_owner_only(home: Path) -> None:
    identity = server_identity()
    assert server_identity() == identity
    assert [file.name for file in home.iterdir()] == [FILE]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (home, home / FILE)] == [0o700, 0o600]


def test_the_authoritys_key_is_not_kept(home: Path) -> None:
    text = server_identity().pem.decode()
    assert (home / FILE).read_text() == text
    assert (text.count("PRIVATE KEY"), text.count("BEGIN CERTIFICATE")) == (2, 2)
    assert b"PRIVATE" not in server_identity().authority


@pytest.mark.parametrize("content", ["", "garbage", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n" * 2])
def test_what_is_no_certificate_is_replaced(home: Path, content: str) -> None:
    server_identity()
    (home / FILE).write_text(content)
    identity = server_identity()
    assert (home / FILE).read_bytes() == identity.pem
    assert identity.is_usable(time.time())


def test_a_key_of_another_certificate_is_replaced(home: Path) -> None:
    one, other = server_identity(), new_identity()
    mark = b"-----END PRIVATE KEY-----\n"
    (home / FILE).write_bytes(one.pem.split(mark)[0] + mark + other.pem.split(mark)[1])
    assert server_identity().pem not in (one.pem, other.pem)


def test_it_is_renewed_before_it_expires(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = server_identity()
    end = time.time() + certificates.LIFETIME.total_seconds()
    assert identity.is_usable(end - RENEW_S - 60)
    assert not identity.is_usable(end - RENEW_S + 60)
    assert not identity.is_usable(time.time() - 2 * 86400)  # the clock was set back
    monkeypatch.setattr(serving, "RENEW_S", certificates.LIFETIME.total_seconds())
    assert server_identity() != identity


@pytest.mark.parametrize("mode", [0o750, 0o701])
def test_a_directory_that_is_open_to_others_is_not_used(home: Path, mode: int) -> None:
    home.mkdir(mode=mode)
    home.chmod(mode)
    assert server_identity() != server_identity()
    assert list(home.iterdir()) == []


def test_a_file_that_others_may_read_is_replaced(home: Path) -> None:
    identity = server_identity()
    (home / FILE).chmod(0o640)
    assert server_identity() != identity
    assert stat.S_IMODE((home / FILE).stat().st_mode) == 0o600


def test_links_are_not_followed(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    home.symlink_to(elsewhere)
    assert server_identity() != server_identity()
    assert list(elsewhere.iterdir()) == []
    home.unlink()
    identity = server_identity()
    (home / FILE).rename(tmp_path / "moved")
    (home / FILE).symlink_to(tmp_path / "moved")
    assert server_identity() != identity
    assert not (home / FILE).is_symlink()
    assert (tmp_path / "moved").read_bytes() == identity.pem


def test_one_is_made_where_none_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert server_identity() != server_identity()


def test_starts_at_the_same_time_each_have_a_whole_one(home: Path) -> None:
    identities: list[ServerIdentity] = []
    threads = [threading.Thread(target=lambda: identities.append(server_identity())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(identities) == 8
    assert all(identity.is_usable(time.time()) for identity in identities)
    assert server_identity() in identities
    assert [file.name for file in home.iterdir()] == [FILE]


def test_a_strict_client_verifies_it() -> None:
    identity = new_identity()
    client = ssl.create_default_context(cadata=identity.authority.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
    near = client.wrap_bio(*ours, server_hostname="127.0.0.1")
    far = identity.context().wrap_bio(*theirs, server_side=True)
    for _ in range(4):
        for side in (near, far):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            theirs[0].write(ours[1].read())
            ours[0].write(theirs[1].read())
    assert near.version() == "TLSv1.3"
    certificate: Any = near.getpeercert()
    assert certificate["subjectAltName"] == (("DNS", "localhost"), ("IP Address", "127.0.0.1"))
