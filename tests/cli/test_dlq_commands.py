"""`unitsim dlq`: wrong usage, the question before a drop, and how dead letters are written for a person."""

import base64
import io
import json
import sys
from typing import Any, get_args

import pytest
from rich.console import Console

from simulator.cli import run
from simulator.cli.dead_letter_text import described, lines, printable, table
from simulator.cli.dead_letters import DeclinedError, confirm
from simulator.cli.dlq import Source
from simulator.dead_letter_rules import SOURCES
from simulator.errors import UsageError

LISTED: dict[str, Any] = {
    "sequence": 118,
    "source": "invocation",
    "serverlessRequestID": "tts-small",
    "invocationID": "order-1",
    "failureClass": "malformed_message",
    "error": "not a InvocationMessage: Expected `int`, got `str`",
    "failedAt": "2026-03-04T05:09:00.25Z",
    "originalSubject": "runtime.serverless.invoke.tts-small",
}
NAMELESS = {
    **{name: LISTED[name] for name in ("source", "failureClass", "originalSubject")},
    "sequence": 9,
    "serverlessRequestID": "unknown",
    "error": "\x1b[2J\x9b31m\nboo",
    "failedAt": "0001-01-01T00:00:00Z",
}


def shown(data: bytes, size: int | None = None, **changes: Any) -> dict[str, Any]:
    original = {"originalBase64": base64.b64encode(data).decode(), "originalSize": len(data) if size is None else size}
    return {**LISTED, **original, "retryable": True, **changes}


@pytest.mark.parametrize(
    ("arguments", "hints"),
    [
        pytest.param(["shw"], ['"shw"', 'Did you mean "show"'], id="unknown command"),
        pytest.param(["list", "--source", "worker"], ["--source", "invocation", "metric"], id="unknown source"),
        pytest.param(["list", "--limit", "few"], ["--limit", '"few"'], id="limit is no number"),
        pytest.param(["show"], ["SEQUENCE"], id="show nothing"),
        pytest.param(["show", "x"], ['"x"'], id="show what is no number"),
        pytest.param(["show", "1", "--payload", "--json"], ["not both"], id="payload as JSON"),
        pytest.param(["retry"], ["name the dead letters", "unitsim dlq list"], id="retry nothing"),
        pytest.param(["drop"], ["name the dead letters", "--all"], id="drop nothing"),
        pytest.param(["drop", "1", "--all"], ["name the dead letters", "--all"], id="drop some and all"),
        pytest.param(["drop", "1", "--pool", "p"], ["--pool", "--all"], id="drop some of a pool"),
    ],
)
def test_wrong_usage(arguments: list[str], hints: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dlq", *arguments, *(["--yes"] if arguments[0] == "drop" else [])]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) <= 2
    for hint in hints:
        assert hint in told.err


def test_the_sources_are_those_of_the_contract() -> None:
    assert get_args(Source) == SOURCES


@pytest.mark.parametrize("command", ["list", "show", "retry", "drop"])
def test_every_command_is_in_the_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dlq", "--help"]) == 0
    assert f" {command} " in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["y\n", "Yes\n"])
def test_yes_is_yes(answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    confirm("drop 2 dead letters")
    assert capsys.readouterr() == ("", "drop 2 dead letters? [y/N] ")


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yesterday\n"])
def test_anything_else_is_no(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with pytest.raises(DeclinedError) as caught:
        confirm("drop 2 dead letters")
    assert caught.value.exit_code == 1


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(UsageError, match="--yes"):
        confirm("drop 2 dead letters")


def test_a_line_for_each_with_its_columns_under_each_other() -> None:
    assert list(lines([LISTED, NAMELESS])) == [
        "118  2026-03-04 05:09:00  invocation  tts-small  order-1  malformed_message: "
        "not a InvocationMessage: Expected `int`, got `str`",
        "9    -                    invocation  unknown    -        malformed_message: �[2J�31m�boo",
    ]


@pytest.mark.parametrize("width", [80, 300])
def test_a_table_on_a_terminal_has_a_row_for_each(width: int) -> None:
    written = io.StringIO()
    Console(file=written, width=width, force_terminal=True, color_system=None).print(table([LISTED, NAMELESS]))
    header, first, second = written.getvalue().splitlines()
    assert header.split()[0] == "number"
    assert (first.split()[0], second.split()[0]) == ("118", "9")
    assert all(character.isprintable() for line in (first, second) for character in line)
    if width == 300:
        assert first.rstrip().endswith(LISTED["error"])


def test_one_is_described_with_all_that_is_known() -> None:
    letter = shown(
        b'{"b": 1.50, "a": "\xc3\xa9"}',
        workerName="w",
        workerNamespace="n",
        consumer="c",
        deliveryCount=5,
        stream="RUNTIME_SERVERLESS",
        streamSequence=117,
    )
    assert list(described(letter)) == [
        "dead letter 118",
        "  when         2026-03-04 05:09:00 UTC",
        "  source       invocation",
        "  pool         tts-small",
        "  invocation   order-1",
        "  worker       n/w",
        "  failure      malformed_message",
        "  error        not a InvocationMessage: Expected `int`, got `str`",
        "  subject      runtime.serverless.invoke.tts-small",
        "  stored as    message 117 of RUNTIME_SERVERLESS",
        "  consumer     c, delivered 5 times",
        "  retry        unitsim dlq retry 118",
        "  original     22 bytes",
        "{",
        '  "b": 1.5,',
        '  "a": "é"',
        "}",
    ]


@pytest.mark.parametrize(
    ("letter", "end"),
    [
        (shown(b"no json"), ["  original     7 bytes", "no json"]),
        (shown(b"two\nlines\x1b[2J"), ["two", "lines�[2J"]),
        (shown(b'"\\u001b"'), ["  original     8 bytes", '"\\u001b"']),
        (shown(b"\xff\x00"), ["  original     2 bytes", "(no text: 'unitsim dlq show --payload' writes the bytes)"]),
        (shown(b'{"a"', 900), ["  original     the first 4 of 900 bytes", '{"a"']),
        (shown(b"[" * 20_000), ["  original     20000 bytes", "[" * 20_000]),
        (
            shown(b"x", retryable=False, notRetryable="it was a result"),
            ["  no retry     it was a result", "  original     1 bytes", "x"],
        ),
    ],
)
def test_the_original_is_shown_as_what_it_is(letter: dict[str, Any], end: list[str]) -> None:
    assert list(described(letter))[-len(end) :] == end


def test_a_time_that_is_not_set_is_not_shown() -> None:
    assert not [line for line in described(shown(b"x", failedAt="0001-01-01T00:00:00Z")) if "when" in line]


def test_nothing_moves_the_terminals_cursor() -> None:
    assert printable("a\x1b[2J\r\x07\u202eb") == "a�[2J���b"
    assert printable(json.loads('"tab\\there é"')) == "tab�here é"
