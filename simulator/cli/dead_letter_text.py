"""How dead letters are written for a person. Pure.

What they hold comes from anywhere: nothing of it reaches a terminal but printable characters.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress

from rich.table import Table
from rich.text import Text

from simulator.api_client import Json

COLUMNS = ("number", "when (UTC)", "source", "pool", "invocation", "why")
SHORTENED = ("invocation", "why")
"""The columns that share what room the others leave on a terminal."""
NOTHING = "-"


def printable(text: str) -> str:
    """The text on one line, without characters that move a terminal's cursor or change its state."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def row(letter: Json) -> tuple[str, ...]:
    """The columns of a listed dead letter."""
    texts = (
        str(letter["sequence"]),
        _time(letter["failedAt"]),
        letter["source"],
        letter["serverlessRequestID"],
        letter.get("invocationID", ""),
        ": ".join(filter(None, (letter["failureClass"], letter["error"]))),
    )
    return tuple(printable(text) or NOTHING for text in texts)


def _time(text: str) -> str:
    """The seconds of a message's time; empty when it is not set (contract 3.1)."""
    return "" if text.startswith("0001") else text[:19].replace("T", " ")


def table(letters: Sequence[Json]) -> Table:
    """Dead letters for a terminal, a line each."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for name in COLUMNS:
        shown.add_column(name, no_wrap=name not in SHORTENED)
    for letter in letters:
        shown.add_row(*(Text(text, no_wrap=True, overflow="ellipsis") for text in row(letter)))
    return shown


def lines(letters: Sequence[Json]) -> Iterator[str]:
    """The same for a file or a pipe: a line each, whole, its columns under each other."""
    rows = [row(letter) for letter in letters]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for texts in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip()


def described(letter: Json) -> Iterator[str]:
    """Everything that is known of a dead letter, then the message that it was."""
    yield f"dead letter {letter['sequence']}"
    for name, value in _facts(letter):
        if value:
            yield f"  {name:<12} {printable(value)}"
    data, size = original_of(letter)
    yield f"  {'original':<12} {_size(data, size)}"
    yield from _content(data)


def _facts(letter: Json) -> Iterator[tuple[str, str]]:
    when = _time(letter["failedAt"])
    yield "when", f"{when} UTC" if when else ""
    yield "source", letter["source"]
    yield "pool", letter["serverlessRequestID"]
    yield "invocation", letter.get("invocationID", "")
    if letter.get("workerName"):
        yield "worker", f"{letter.get('workerNamespace', '')}/{letter['workerName']}"
    yield "failure", letter["failureClass"]
    yield "error", letter["error"]
    yield "subject", letter["originalSubject"]
    if letter.get("streamSequence"):
        yield "stored as", f"message {letter['streamSequence']} of {letter.get('stream', '')}"
    if letter.get("consumer"):
        yield "consumer", f"{letter['consumer']}, delivered {letter.get('deliveryCount', 0)} times"
    number = letter["sequence"]
    if letter["retryable"]:
        yield "retry", f"unitsim dlq retry {number}"
    else:
        yield "no retry", letter["notRetryable"]


def original_of(letter: Json) -> tuple[bytes, int]:
    """The known bytes of the message that was given up, and how many it had."""
    return base64.b64decode(letter["originalBase64"]), letter["originalSize"]


def _size(data: bytes, size: int) -> str:
    return f"{size} bytes" if len(data) == size else f"the first {len(data)} of {size} bytes"


def _content(data: bytes) -> Iterator[str]:
    """Indented JSON, or text as it is; other bytes are only counted."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        yield "(no text: 'unitsim dlq show --payload' writes the bytes)"
        return
    with suppress(ValueError, RecursionError):  # what is no JSON is shown as it came
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    for line in text.split("\n"):
        yield printable(line)
