"""Base64 as the real server checks it."""

import string

_ALPHABET = frozenset(string.ascii_letters + string.digits + "+/")
_QUANTUM = 4
_MIN_DIGITS = 2
"""Fewer digits than that of a quantum make no byte."""


class Base64Error(ValueError):
    """The text is not base64; the message is that of the real server."""


def check_base64(text: str) -> None:
    """Check that the text is padded base64; line breaks may be anywhere.

    Raises:
        Base64Error: it is not.
    """
    data = text.encode()
    digits = 0
    for at, code in enumerate(data):
        character = chr(code)
        if character in "\r\n":
            continue
        if character == "=":
            _check_padding(data, at, digits)
            return
        if character not in _ALPHABET:
            raise _corrupt(at)
        digits = (digits + 1) % _QUANTUM
    if digits:
        raise _corrupt(len(data) - digits)


def _check_padding(data: bytes, at: int, digits: int) -> None:
    """Check the end of the data from its first `=` on, which follows so many digits of a quantum."""
    if digits < _MIN_DIGITS:
        raise _corrupt(at)
    rest = [(position, code) for position, code in enumerate(data[at + 1 :], at + 1) if chr(code) not in "\r\n"]
    if digits == _MIN_DIGITS:
        if not rest:
            raise _corrupt(len(data))
        position, code = rest.pop(0)
        if chr(code) != "=":
            raise _corrupt(position - 1)
    if rest:
        raise _corrupt(rest[0][0])


def _corrupt(at: int) -> Base64Error:
    return Base64Error(f"illegal base64 data at input byte {at}")
