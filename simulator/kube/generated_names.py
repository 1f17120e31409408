"""Names that the server makes up, of a base and some random letters."""

import random
from collections.abc import Callable

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # those of the real API: no vowels, so no words
_LENGTH = 5
_LONGEST_BASE = 58


def random_suffix() -> str:
    """Five random letters."""
    return "".join(random.choices(_LETTERS, k=_LENGTH))  # noqa: S311 - a name, no secret


def generated_name(base: str, is_taken: Callable[[str], bool]) -> str:
    """A name of `base` (`generateName`) that is not taken; empty if there is no base."""
    while base:
        name = base[:_LONGEST_BASE] + random_suffix()
        if not is_taken(name):
            return name
    return ""
