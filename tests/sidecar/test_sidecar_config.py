"""Settings: every row of contract 7.1, all problems at once."""

import os
import ssl
from pathlib import Path

import pytest
import trustme

from sidecar.config import Config, ConfigError, TlsFiles, backoff_delays

REQUIRED = {
    "SERVERLESS_NATS_URL": "nats://127.0.0.1:4222",
    "SERVERLESS_WORKER_NAME": "tts-small-base",
    "SERVERLESS_WORKER_NAMESPACE": "runtime-instance",
    "SERVERLESS_REQUEST_ID": "tts-small",
}


def test_the_defaults() -> None:
    config = Config.from_env(REQUIRED)
    assert config.nats_url == "nats://127.0.0.1:4222"
    assert config.subjects.prefix == "runtime.serverless"
    assert config.stream_name == "RUNTIME_SERVERLESS"
    assert (config.worker_name, config.worker_namespace, config.request_id) == (
        "tts-small-base",
        "runtime-instance",
        "tts-small",
    )
    assert config.consumer_name == "serverless-sidecar-tts-small-base"
    assert (config.heartbeat_interval_s, config.ack_wait_s) == (15, 300)
    assert (config.max_deliver, config.backoff_s) == (5, (2, 10, 30))
    assert config.socket_path == "/tmp/serverless-framework/framework.sock"
    assert (config.invoke_path, config.health_path) == ("/invoke", "/healthz")
    assert (config.health_host, config.health_port) == ("127.0.0.1", 8091)
    assert (config.concurrency, config.drain_timeout_s) == (1, 20)
    assert (config.credentials_file, config.tls) == (None, None)


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("SERVERLESS_NATS_URL", "tls://u:p@nats.svc:4333", "nats_url", "tls://u:p@nats.svc:4333"),
        ("SERVERLESS_NATS_URL", "u:p@nats.svc:4222", "nats_url", "nats://u:p@nats.svc:4222"),
        ("SERVERLESS_STREAM_NAME", " JOBS ", "stream_name", "JOBS"),
        ("SERVERLESS_WORKER_NAME", " w ", "worker_name", "w"),
        ("SERVERLESS_WORKER_NAME", "unit.a", "consumer_name", "serverless-sidecar-unit-a"),
        ("SERVERLESS_REQUEST_ID", " TTS ", "request_id", "tts"),
        ("SERVERLESS_WORKER_CONSUMER_NAME", "mine", "consumer_name", "mine"),
        ("SERVERLESS_WORKER_CONSUMER_NAME", "  ", "consumer_name", "serverless-sidecar-tts-small-base"),
        ("SERVERLESS_HEARTBEAT_INTERVAL", "300ms", "heartbeat_interval_s", 0.3),
        ("SERVERLESS_HEARTBEAT_INTERVAL", "", "heartbeat_interval_s", 15),
        ("SERVERLESS_DISPATCH_ACK_WAIT", "1h30m", "ack_wait_s", 5400),
        ("SERVERLESS_DISPATCH_ACK_WAIT", "1s", "ack_wait_s", 1),
        ("SERVERLESS_DISPATCH_MAX_DELIVER", "2", "backoff_s", (2, 10)),
        ("SERVERLESS_DISPATCH_BACKOFF", "1s, 500ms", "backoff_s", (1, 0.5)),
        (
            "SERVERLESS_FRAMEWORK_SOCKET_PATH",
            "tmp/serverless-framework/a.sock",
            "socket_path",
            "/tmp/serverless-framework/a.sock",
        ),
        ("SERVERLESS_FRAMEWORK_INVOKE_PATH", "run/", "invoke_path", "/run"),
        ("SERVERLESS_FRAMEWORK_INVOKE_PATH", "/", "invoke_path", "/invoke"),
        ("SERVERLESS_FRAMEWORK_HEALTH_PATH", "up", "health_path", "/up"),
        ("SERVERLESS_SIDECAR_HEALTH_HOST", "0.0.0.0", "health_host", "0.0.0.0"),
        ("SERVERLESS_SIDECAR_HEALTH_PORT", "65535", "health_port", 65535),
        ("SERVERLESS_MAX_CONCURRENCY", "16", "concurrency", 16),
        ("SERVERLESS_DRAIN_TIMEOUT", "1m", "drain_timeout_s", 60),
    ],
)
def test_each_variable_is_read(name: str, text: str, attribute: str, value: object) -> None:
    assert getattr(Config.from_env(REQUIRED | {name: text}), attribute) == value


def test_the_prefix_is_normalised() -> None:
    config = Config.from_env(REQUIRED | {"SERVERLESS_SUBJECT_PREFIX": " .acme. "})
    assert config.subjects.dispatch("p", "w") == "acme.dispatch.p.w"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SERVERLESS_NATS_URL", ""),
        ("SERVERLESS_NATS_URL", "http://x"),
        ("SERVERLESS_NATS_URL", "nats://"),
        ("SERVERLESS_NATS_URL", "nats://u:secret@h:99999"),
        ("SERVERLESS_SUBJECT_PREFIX", "a..b"),
        ("SERVERLESS_STREAM_NAME", "a.b"),
        ("SERVERLESS_WORKER_NAME", "  "),
        ("SERVERLESS_WORKER_NAME", "a\nb"),
        ("SERVERLESS_WORKER_NAMESPACE", ""),
        ("SERVERLESS_WORKER_NAMESPACE", "a\tb"),
        ("SERVERLESS_REQUEST_ID", "a.b"),
        ("SERVERLESS_WORKER_CONSUMER_NAME", "a.b"),
        ("SERVERLESS_HEARTBEAT_INTERVAL", "0s"),
        ("SERVERLESS_HEARTBEAT_INTERVAL", "-1s"),
        ("SERVERLESS_HEARTBEAT_INTERVAL", "15"),
        ("SERVERLESS_DISPATCH_ACK_WAIT", "soon"),
        ("SERVERLESS_DISPATCH_ACK_WAIT", "999ms"),
        ("SERVERLESS_DISPATCH_MAX_DELIVER", "0"),
        ("SERVERLESS_DISPATCH_MAX_DELIVER", "many"),
        ("SERVERLESS_DISPATCH_BACKOFF", "1s,2"),
        ("SERVERLESS_DISPATCH_BACKOFF", "0s"),
        ("SERVERLESS_DISPATCH_BACKOFF", "1s,1s,1s,1s,1s,1s"),
        ("SERVERLESS_FRAMEWORK_SOCKET_PATH", "/run/x.sock"),
        ("SERVERLESS_FRAMEWORK_SOCKET_PATH", "/tmp/serverless-framework/" + "x" * 82),
        ("SERVERLESS_FRAMEWORK_INVOKE_PATH", "/a b"),
        ("SERVERLESS_FRAMEWORK_HEALTH_PATH", "/invoke"),
        ("SERVERLESS_SIDECAR_HEALTH_PORT", "80abc"),
        ("SERVERLESS_SIDECAR_HEALTH_PORT", "65536"),
        ("SERVERLESS_SIDECAR_HEALTH_PORT", "0"),
        ("SERVERLESS_MAX_CONCURRENCY", "0"),
        ("SERVERLESS_DRAIN_TIMEOUT", "never"),
    ],
)
def test_a_wrong_value_is_named(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Config.from_env(REQUIRED | {name: text})
    (problem,) = raised.value.problems
    assert name in problem
    assert "secret" not in problem


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        Config.from_env({"SERVERLESS_HEARTBEAT_INTERVAL": "x", "SERVERLESS_SIDECAR_HEALTH_PORT": "y"})
    named = {problem.replace(":", "").split()[0] for problem in raised.value.problems}
    assert named == {*REQUIRED, "SERVERLESS_HEARTBEAT_INTERVAL", "SERVERLESS_SIDECAR_HEALTH_PORT"}
    assert len(raised.value.problems) == 6


@pytest.mark.parametrize(
    ("text", "max_deliver", "delays"),
    [("", 5, (2, 10, 30)), ("", 1, (2,)), ("", 2, (2, 10)), ("1s", 1, (1,)), ("1s,2s,3s", 3, (1, 2, 3))],
)
def test_backoff_lists(text: str, max_deliver: int, delays: tuple[float, ...]) -> None:
    """Q5: a small `maxDeliver` without a list cuts the default one."""
    assert backoff_delays(text, max_deliver) == delays


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A file for each variable that names one."""
    authority = trustme.CA()
    certificate = authority.issue_cert("sidecar")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    (tmp_path / "user.creds").write_text("hunter2")
    return {
        "SERVERLESS_NATS_CA_FILE": str(tmp_path / "ca.pem"),
        "SERVERLESS_NATS_CERT_FILE": str(tmp_path / "tls.crt"),
        "SERVERLESS_NATS_KEY_FILE": str(tmp_path / "tls.key"),
        "SERVERLESS_NATS_CREDENTIALS_FILE": str(tmp_path / "user.creds"),
    }


def test_credentials_and_certificates_come_from_files(files: dict[str, str]) -> None:
    """S22: a mounted Secret gives the sidecar its identity."""
    config = Config.from_env(REQUIRED | files)
    assert config.credentials_file == Path(files["SERVERLESS_NATS_CREDENTIALS_FILE"])
    assert config.tls == TlsFiles(
        ca=Path(files["SERVERLESS_NATS_CA_FILE"]),
        certificate=Path(files["SERVERLESS_NATS_CERT_FILE"]),
        key=Path(files["SERVERLESS_NATS_KEY_FILE"]),
    )
    context = config.tls.context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1


def test_an_authority_alone_is_enough_for_tls(files: dict[str, str]) -> None:
    ca = files["SERVERLESS_NATS_CA_FILE"]
    assert Config.from_env(REQUIRED | {"SERVERLESS_NATS_CA_FILE": ca}).tls == TlsFiles(ca=Path(ca))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"SERVERLESS_NATS_CREDENTIALS_FILE": "/nowhere/x.creds"}, "SERVERLESS_NATS_CREDENTIALS_FILE"),
        ({"SERVERLESS_NATS_CA_FILE": "/tmp"}, "SERVERLESS_NATS_CA_FILE"),
        ({"SERVERLESS_NATS_CERT_FILE": ""}, "must be set together"),
        ({"SERVERLESS_NATS_KEY_FILE": " "}, "must be set together"),
        ({"SERVERLESS_NATS_URL": "nats://u:hunter2@h"}, "SERVERLESS_NATS_URL has a user too"),
        ({"SERVERLESS_NATS_URL": "hunter2@h"}, "SERVERLESS_NATS_URL has a user too"),
    ],
)
def test_files_that_cannot_be_used_are_named(files: dict[str, str], changes: dict[str, str], named: str) -> None:
    """S22: the message names the variable, never what the file or the URL holds."""
    with pytest.raises(ConfigError) as raised:
        Config.from_env(REQUIRED | files | changes)
    (problem,) = raised.value.problems
    assert named in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "variable", ["SERVERLESS_NATS_CA_FILE", "SERVERLESS_NATS_CERT_FILE", "SERVERLESS_NATS_KEY_FILE"]
)
def test_a_file_that_is_no_pem_is_found_at_the_start(files: dict[str, str], variable: str) -> None:
    Path(files[variable]).write_text("hunter2")
    with pytest.raises(ConfigError, match="PEM") as raised:
        Config.from_env(REQUIRED | files)
    assert "hunter2" not in str(raised.value)


def test_a_key_of_another_certificate_is_found_at_the_start(files: dict[str, str]) -> None:
    trustme.CA().issue_cert("other").private_key_pem.write_to_path(files["SERVERLESS_NATS_KEY_FILE"])
    with pytest.raises(ConfigError, match="fit together"):
        Config.from_env(REQUIRED | files)


def test_a_file_that_may_not_be_read_is_named(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, who may read everything."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError, match="may not be read"):
        Config.from_env(REQUIRED | files)


def test_the_text_of_the_settings_has_no_password() -> None:
    config = Config.from_env(REQUIRED | {"SERVERLESS_NATS_URL": "nats://user:hunter2@h"})
    assert "hunter2" not in f"{config} {config!r}"
    assert "tts-small-base" in repr(config)
