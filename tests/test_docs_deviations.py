"""The pages that list deviations name only what code or tests name too; those of sidecar and queue are all listed."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"\b[MSQPCA]\d{1,2}\b")
SIDECAR_AND_QUEUE = {f"S{number}" for number in range(1, 31)} | {f"Q{number}" for number in range(1, 10)}


def numbers_of(page: str) -> list[str]:
    """The numbers in the first column of a page's tables, in its order."""
    rows = [line for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [number for row in rows for number in NUMBER.findall(row.split("|")[1])]


def named_in(*rooms: str) -> set[str]:
    """The numbers that the Python files of these rooms name, as `S1` or, within a name, as `_s1_`."""
    text = "".join(file.read_text(encoding="utf-8") for room in rooms for file in (ROOT / room).rglob("*.py"))
    within_names = re.findall(r"_([msqpca]\d{1,2})(?=[_(])", text)
    return {*NUMBER.findall(text), *(number.upper() for number in within_names)}


@pytest.mark.parametrize("page", ["deviations.md", "wire.md", "api.md"])
def test_each_number_is_named_in_code_or_tests(page: str) -> None:
    numbers = set(numbers_of(page))
    assert len(numbers) > 5
    assert numbers - named_in("framework", "sidecar", "simulator", "tests") == set()


def test_every_weakness_of_sidecar_and_queue_is_listed_once() -> None:
    assert sorted(numbers_of("wire.md")) == sorted(SIDECAR_AND_QUEUE)


def test_every_weakness_of_sidecar_and_queue_is_named_by_a_test() -> None:
    assert SIDECAR_AND_QUEUE - named_in("tests") == set()
