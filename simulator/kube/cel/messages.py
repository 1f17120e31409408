"""What the library says of an expression, in the words of the real server, which uses the library's other edition."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

OUT_OF_BUDGET = "operation cancelled: actual cost limit exceeded"

_STATUS = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
_ISSUE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_REWORDED = (
    (r"undefined field '(\w+)' not found in struct '\w+'", r"undefined field '\1'"),
    (
        r"expression of type '(.*)' cannot be the operand of a select operation",
        r"type '\1' does not support field selection",
    ),
    (r"cannot be the range of a comprehension", "cannot be range of a comprehension"),
    (r"has\(\) argument must be a field selection", "invalid argument to has() macro"),
    (r"\w+\(\) variable name must be a simple identifier", "argument must be a simple name"),
    (r"\bnull_type\b", "null"),
    (r"google\.protobuf\.(Timestamp|Duration)", lambda match: match[1].lower()),
    (r"T%\d+", "dyn"),
)
_NUMBERS = r"(?:int|uint|double)"
_NO_PROBLEM = re.compile(
    rf"found no matching overload for '_[<>]=?_' applied to '\({_NUMBERS}, {_NUMBERS}\)'|\*error\*"
)
"""Numbers of two types can be compared, which the library knows only when it does it; what follows from an error."""
_OVERLOAD = re.compile(r"found no matching overload for '(\w+)' applied to '\((.*)\)'")
_UNDECLARED = re.compile(r"undeclared reference to '(\w+)(?:\.\w+)+' ")

_TO_TYPE = r"type conversion error from 'string' to '\1'"
_EVALUATIONS = (
    (r'Key not found in map : "?(.*?)"?', r"no such key: \1"),
    (r"Index error: index=(-?\d+) size=\d+", r"index out of bounds: \1"),
    (r"divide by zero", "division by zero"),
    (r"double out of int64 range", "integer overflow"),
    (r"(?:int64|double) out of uint64 range", "unsigned integer overflow"),
    (r"cannot convert string to (\w+)", _TO_TYPE),
    (r"Type conversion error from 'string' to '(\w+)'", _TO_TYPE),
    (r"String to (\w+) conversion failed", r"type conversion error from 'string' to 'google.protobuf.\1'"),
    (r"invalid regular expression: missing ([)\]]): (.*)", r"error parsing regexp: missing closing \1: `\2`"),
    (
        r"invalid regular expression: no argument for repetition operator: (.*)",
        r"error parsing regexp: missing argument to repetition operator: `\1`",
    ),
    (
        r"invalid regular expression: bad repetition operator: (.*)",
        r"error parsing regexp: invalid nested repetition operator: `\1`",
    ),
    (r"No matching overloads found : .*", "no such overload"),
    (r"Applying SELECT to non-message type|Invalid container type: .*", "no such overload"),
    (r"Iteration budget exceeded", OUT_OF_BUDGET),
)


@dataclass(frozen=True, slots=True)
class _Issue:
    line: int
    column: int
    problem: str

    def shown(self, source: list[str]) -> str:
        text = source[self.line - 1]
        return f"ERROR: <input>:{self.line}:{self.column}: {self.problem}\n | {text}\n | {'.' * (self.column - 1)}^"


def compilation_text(text: str, expression: str, types: Mapping[str, str]) -> str:
    """The problems that the check of an expression found, empty if they are none to the real server.

    `types` are the names to be shown of types.
    """
    source = expression.split("\n")
    found = [_Issue(int(at[1]), int(at[2]), at[3]) for at in _ISSUE.finditer(text)]
    within = [issue for issue in found if 0 < issue.line <= len(source)]
    if not within:
        return _without_status(text)
    issues = {_reworded(issue, source, types) for issue in within if not _NO_PROBLEM.search(issue.problem)}
    return "\n".join(issue.shown(source) for issue in sorted(issues, key=lambda one: (one.line, one.column)))


def evaluation_text(text: str) -> str:
    """Why an expression has no value."""
    said = _without_status(text)
    for pattern, words in _EVALUATIONS:
        match = re.fullmatch(pattern, said, re.DOTALL)
        if match is not None:
            return match.expand(words)
    return said


def _without_status(text: str) -> str:
    return _STATUS.sub("", text)


def _reworded(issue: _Issue, source: list[str], types: Mapping[str, str]) -> _Issue:
    problem = issue.problem
    for pattern, words in _REWORDED:
        problem = re.sub(pattern, words, problem)
    before = source[issue.line - 1][: issue.column - 1] if 0 < issue.line <= len(source) else ""
    overload = _OVERLOAD.search(problem)
    if overload is not None and before.endswith(f".{overload[1]}"):
        receiver, arguments = _split(overload[2])
        problem = f"found no matching overload for '{overload[1]}' applied to '{receiver}.({arguments})'"
    column = issue.column
    undeclared = _UNDECLARED.match(problem)
    if undeclared is not None and not source[issue.line - 1][column - 1 :].startswith(undeclared[1]):
        column = before.rfind(undeclared[1]) + 1 or column
        problem = _UNDECLARED.sub(rf"undeclared reference to '{undeclared[1]}' ", problem)
    for name, shown in types.items():
        problem = re.sub(rf"\b{name}\b", shown, problem)
    return _Issue(issue.line, column, problem)


def _split(types: str) -> tuple[str, str]:
    """The first of some types, and the others."""
    depth = 0
    for place, character in enumerate(types):
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            return types[:place], types[place + 2 :]
    return types, ""
