"""When nats-server dies, its last words are in the error: its log is deleted with the platform."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator.errors import PlatformError
from simulator.platform import LOG_TAIL_CHARACTERS, _guard


@dataclass
class StubServer:
    log: Path

    async def unexpected_end(self) -> int:
        return 2


async def message_of(log: Path, *, keep: bool = False) -> str:
    with pytest.raises(PlatformError, match="nats-server ended unexpectedly with code 2") as caught:
        await _guard(StubServer(log), keep=keep)  # type: ignore[arg-type]
    return str(caught.value)


async def test_the_last_five_lines_are_in_the_message_and_no_path(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    log.write_text("".join(f"line {number}\n" for number in range(9)))
    message = await message_of(log)
    assert message.splitlines()[1:] == [f"line {number}" for number in range(4, 9)]
    assert str(log) not in message


async def test_a_log_that_is_kept_is_named(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    log.write_text("disk full\n")
    message = await message_of(log, keep=True)
    assert str(log) in message.splitlines()[0]
    assert message.splitlines()[1:] == ["disk full"]


async def test_long_lines_are_cut_to_their_end(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    log.write_text("x" * 5000 + "the end")
    [tail] = (await message_of(log)).splitlines()[1:]
    assert len(tail) == LOG_TAIL_CHARACTERS
    assert tail.endswith("xthe end")


async def test_a_log_without_words_is_said_so(tmp_path: Path) -> None:
    assert (await message_of(tmp_path / "none")).endswith("(cannot be read: No such file or directory)")
    (tmp_path / "empty").touch()
    assert (await message_of(tmp_path / "empty")).endswith("(empty)")
