"""Settings: every row of contract 7.1, all problems at once."""

import pytest

from sidecar.config import Config, ConfigError, backoff_delays

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


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("SERVERLESS_NATS_URL", "tls://u:p@nats.svc:4333", "nats_url", "tls://u:p@nats.svc:4333"),
        ("SERVERLESS_NATS_URL", "nats.svc:4222", "nats_url", "nats.svc:4222"),
        ("SERVERLESS_STREAM_NAME", " JOBS ", "stream_name", "JOBS"),
        ("SERVERLESS_WORKER_NAME", " w ", "worker_name", "w"),
        ("SERVERLESS_WORKER_NAME", "unit.a", "consumer_name", "serverless-sidecar-unit-a"),
        ("SERVERLESS_REQUEST_ID", " TTS ", "request_id", "tts"),
        ("SERVERLESS_WORKER_CONSUMER_NAME", "mine", "consumer_name", "mine"),
        ("SERVERLESS_WORKER_CONSUMER_NAME", "  ", "consumer_name", "serverless-sidecar-tts-small-base"),
        ("SERVERLESS_HEARTBEAT_INTERVAL", "300ms", "heartbeat_interval_s", 0.3),
        ("SERVERLESS_HEARTBEAT_INTERVAL", "", "heartbeat_interval_s", 15),
        ("SERVERLESS_DISPATCH_ACK_WAIT", "1h30m", "ack_wait_s", 5400),
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
        ("SERVERLESS_WORKER_NAMESPACE", ""),
        ("SERVERLESS_REQUEST_ID", "a.b"),
        ("SERVERLESS_WORKER_CONSUMER_NAME", "a.b"),
        ("SERVERLESS_HEARTBEAT_INTERVAL", "0s"),
        ("SERVERLESS_HEARTBEAT_INTERVAL", "-1s"),
        ("SERVERLESS_HEARTBEAT_INTERVAL", "15"),
        ("SERVERLESS_DISPATCH_ACK_WAIT", "soon"),
        ("SERVERLESS_DISPATCH_MAX_DELIVER", "0"),
        ("SERVERLESS_DISPATCH_MAX_DELIVER", "many"),
        ("SERVERLESS_DISPATCH_BACKOFF", "1s,2"),
        ("SERVERLESS_DISPATCH_BACKOFF", "0s"),
        ("SERVERLESS_DISPATCH_BACKOFF", "1s,1s,1s,1s,1s,1s"),
        ("SERVERLESS_FRAMEWORK_SOCKET_PATH", "/run/x.sock"),
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
    assert backoff_delays(text, max_deliver) == delays
