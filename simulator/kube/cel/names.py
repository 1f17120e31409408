"""How an expression names what stands in an object, where its own name is no name in CEL."""

import re

_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


def names_of(name: str) -> tuple[str, ...]:
    """The names of a property in expressions, none for one that they cannot name."""
    if name in _RESERVED:
        return (f"__{name}__", name)  # by itself it is a name after a dot, unless it means a value
    if not re.fullmatch(r"[a-zA-Z_./-][a-zA-Z0-9_./-]*", name):
        return ()
    return (re.sub(r"__|[./-]", lambda match: _ESCAPES[match[0]], name),)
