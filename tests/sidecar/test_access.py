"""What the sidecar makes of the files that its settings name (S22): used, or one line that gives nothing away."""

from pathlib import Path

import pytest

from sidecar.access import AccessError, access_for
from sidecar.config import Config
from sidecar.queue import Credentials
from simulator.identities.jwt import Key, KeyKind, credentials_text

ENV = {
    "SERVERLESS_NATS_URL": "nats://127.0.0.1:4222",
    "SERVERLESS_WORKER_NAME": "My.Worker",
    "SERVERLESS_WORKER_NAMESPACE": "ns",
    "SERVERLESS_REQUEST_ID": "pool",
}


def config(path: Path) -> Config:
    return Config.from_env(ENV | {"SERVERLESS_NATS_CREDENTIALS_FILE": str(path)})


def test_without_credentials_nobody_is_asked() -> None:
    access = access_for(Config.from_env(ENV))
    assert (access.credentials, access.tls, access.inbox_prefix) == (None, None, "_INBOX")


def test_with_credentials_the_inboxes_are_the_workers_own(tmp_path: Path) -> None:
    text = credentials_text("header.claims.signature", Key(KeyKind.USER))
    (tmp_path / "nats.creds").write_text(text)
    access = access_for(config(tmp_path / "nats.creds"))
    assert access.credentials == Credentials(text)
    assert access.inbox_prefix == "_WORKER_INBOX.pool.my-worker"
    assert "signature" not in repr(access)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "must be in it"),
        (b"SUASECRET", "must be in it"),
        (b"-----BEGIN NATS USER JWT-----\nSUASECRET", "must be in it"),
        (b"\xff\xfeSUASECRET", "not text"),
    ],
)
def test_what_is_no_credentials_file_is_said_without_its_content(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "nats.creds"
    path.write_bytes(content)
    with pytest.raises(AccessError, match=problem) as caught:
        access_for(config(path))
    assert str(path) in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nats.creds"
    path.write_text("x")
    settings = config(path)
    path.unlink()
    with pytest.raises(AccessError, match="No such file"):
        access_for(settings)
