"""Each weakness of the reference that is repaired has its row on a page, and a test that names it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"\b[MSQPCA]\d{1,2}\b")
NUMBER_IN_NAME = re.compile(r"_([sqpac]\d{1,2})(?=_|\b)")


def family(letter: str, last: int) -> set[str]:
    """`S1`, `S2` and so on."""
    return {f"{letter}{number}" for number in range(1, last + 1)}


WEAKNESSES = {
    "wire.md": family("S", 30) | family("Q", 9),
    "api.md": family("P", 12),
    "deviations.md": family("A", 20) | family("C", 12),
}
"""Those that have to be complete, by the page that lists them; a page may list others besides."""


def numbers_of(page: str) -> list[str]:
    """The numbers in the first column of a page's tables, in its order."""
    rows = [line for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [number for row in rows for number in NUMBER.findall(row.split("|")[1])]


def named_in_code() -> set[str]:
    """The numbers that the program or its tests mention anywhere."""
    rooms = ("framework", "sidecar", "simulator", "tests")
    text = "".join(file.read_text(encoding="utf-8") for room in rooms for file in (ROOT / room).rglob("*.py"))
    return {*NUMBER.findall(text), *named_by(text)}


def named_by(text: str) -> set[str]:
    """The numbers within names, such as `test_s1_the_sidecar_waits`."""
    return {number.upper() for number in NUMBER_IN_NAME.findall(text)}


def named_by_tests(source: str) -> set[str]:
    """The numbers that a test file names where a report of its tests shows or explains them.

    That is in its docstring, in the name or the docstring of a test, or in an id of a test's parameters. A comment is
    no test.
    """
    module = ast.parse(source)
    named: set[str] = set()
    for text in (ast.get_docstring(module) or "", *_texts_of_tests(module), *_ids(module)):
        named |= {*NUMBER.findall(text), *named_by(text)}
    return named


def _texts_of_tests(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield f"{node.name}\n{ast.get_docstring(node) or ''}"


def _ids(module: ast.Module) -> Iterator[str]:
    """The constants that are ids: of `pytest.param(..., id=)`, and of `parametrize(..., ids=)`."""
    for node in ast.walk(module):
        if isinstance(node, ast.keyword) and node.arg in ("id", "ids"):
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


@pytest.mark.parametrize("page", WEAKNESSES)
def test_each_number_is_named_in_code_or_tests(page: str) -> None:
    numbers = set(numbers_of(page))
    assert len(numbers) > 5
    assert numbers - named_in_code() == set()


@pytest.mark.parametrize("page", WEAKNESSES)
def test_every_weakness_is_listed_once(page: str) -> None:
    listed = [number for number in numbers_of(page) if number in WEAKNESSES[page]]
    assert sorted(listed) == sorted(WEAKNESSES[page])


@pytest.mark.parametrize("page", WEAKNESSES)
def test_every_weakness_is_named_by_a_test(page: str) -> None:
    files = [file for file in (ROOT / "tests").rglob("test_*.py") if file != Path(__file__)]
    named = set[str]().union(*(named_by_tests(file.read_text(encoding="utf-8")) for file in files))
    missing = sorted(WEAKNESSES[page] - named, key=lambda number: (number[0], int(number[1:])))
    assert not missing, f"no test names {', '.join(missing)}"


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ('"""Of Q1."""', {"Q1"}),
        ('def test_it():\n    """Q1, and S12."""', {"Q1", "S12"}),
        ("async def test_q1_s12_it(): pass", {"Q1", "S12"}),
        ("def test_it_q1(): pass", {"Q1"}),
        ("@pytest.mark.parametrize('x', [pytest.param(1, id='Q1 it')])\ndef test_it(x): pass", {"Q1"}),
        ("@pytest.mark.parametrize('x', [1], ids=['Q1'])\ndef test_it(x): pass", {"Q1"}),
        ("def test_it():  # Q1\n    assert 'Q1'", set()),
        ('def stand_in():\n    """Q1."""', set()),
        ("def test_q10x_it(): pass", set()),
    ],
)
def test_what_counts_as_naming(source: str, named: set[str]) -> None:
    assert named_by_tests(source) == named
