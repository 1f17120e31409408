"""The attributes of `framework.misbehave`: what they mean, and the bytes that follow from them."""

import pytest

from framework.contract import InvocationResponse
from framework.handlers import encoded_body
from framework.misbehaviour import Script, ScriptError, Seconds, body_of, http_bytes, parse_script

ANSWER = InvocationResponse(status_code=200, content_type="application/json", body=encoded_body({"a": 1}))


@pytest.mark.parametrize(
    ("attributes", "script"),
    [
        ({}, Script()),
        ({"voice": "b2", "later": ""}, Script()),
        ({"delay": "300ms", "unhealthy": "1m30s"}, Script(delay=Seconds(0.3), unhealthy=Seconds(90))),
        ({"delay": "0.5", "slow_headers": "2"}, Script(delay=Seconds(0.5), slow_headers=Seconds(2))),
        ({"hang": "true", "crash": "1", "ignore_cancel": "false"}, Script(hang=True, crash=True)),
        (
            {"exit_code": "3", "bad_status": "418", "huge_body": "100"},
            Script(exit_code=3, bad_status=418, huge_body=100),
        ),
        ({"status_code": "-7", "error": "out of memory"}, Script(status_code=-7, error="out of memory")),
        ({"garbage": "utf8", "disconnect": "body"}, Script(garbage="utf8", disconnect="body")),
    ],
)
def test_a_script_is_read(attributes: dict[str, str], script: Script) -> None:
    assert parse_script(attributes) == script


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("delay", "soon"),
        ("delay", "5 s"),
        ("delay", "-1s"),
        ("delay", "1s2"),
        ("hang", "maybe"),
        ("exit_code", "256"),
        ("exit_code", "-1"),
        ("garbage", "random"),
        ("disconnect", "after"),
        ("bad_status", "99"),
        ("bad_status", "many"),
        ("status_code", "1.5"),
        ("huge_body", "1"),
        ("huge_body", "2000000000000"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ScriptError, match=rf"wrong attribute: .*{name}"):
        parse_script({name: value})


@pytest.mark.parametrize(
    ("script", "body"),
    [
        (Script(), b'{"statusCode":200,"contentType":"application/json","body":{"a":1}}'),
        (Script(status_code=999), b'{"statusCode":999,"contentType":"application/json","body":{"a":1}}'),
        (Script(error="no"), b'{"statusCode":500,"contentType":"application/json","body":{"a":1},"error":"no"}'),
        (
            Script(error="no", status_code=404),
            b'{"statusCode":404,"contentType":"application/json","body":{"a":1},"error":"no"}',
        ),
        (Script(huge_body=5), b'{"statusCode":200,"contentType":"application/json","body":"xxx"}'),
        (Script(garbage="json"), b'{"statusCode":200,"body":'),
        (Script(garbage="utf8"), b'{"statusCode":200,"body":"\xff\xfe"}'),
        (Script(garbage="envelope"), b'{"statusCode":"two hundred","body":null}'),
    ],
)
def test_the_body_follows_the_script(script: Script, body: bytes) -> None:
    assert body_of(script, ANSWER) == body


HEAD = b"HTTP/1.1 200 Scripted\r\nContent-Type: application/json\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("script", "parts"),
    [
        (Script(slow_headers=Seconds(1)), (HEAD, b"body")),
        (Script(slow_headers=Seconds(1), bad_status=503), (HEAD.replace(b"200", b"503"), b"body")),
        (Script(disconnect="before"), (b"", b"")),
        (Script(disconnect="headers"), (HEAD[: len(HEAD) // 2], b"")),
        (Script(disconnect="body"), (HEAD, b"bo")),
        (Script(garbage="http"), (b"", b"\x16\x03\x01 this is not HTTP\r\n\r\n")),
    ],
)
def test_the_bytes_follow_the_script(script: Script, parts: tuple[bytes, bytes]) -> None:
    assert script.breaks_http
    assert http_bytes(script, b"body") == parts
