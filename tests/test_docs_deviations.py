"""The pages that list deviations name only what code or tests name too."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"\b[MSQPCA]\d{1,2}\b")


def numbers_of(page: str) -> set[str]:
    rows = [line for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return {number for row in rows for number in NUMBER.findall(row.split("|")[1])}


@pytest.mark.parametrize("page", ["deviations.md", "api.md"])
def test_each_number_is_named_in_code_or_tests(page: str) -> None:
    text = "".join(
        file.read_text(encoding="utf-8").upper()
        for room in ("framework", "sidecar", "simulator", "tests")
        for file in (ROOT / room).rglob("*.py")
    )
    named = {match.upper() for match in re.findall(r"(?<![A-Z0-9])[MSQPCA]\d{1,2}(?!\d)", text)}
    numbers = numbers_of(page)
    assert len(numbers) > 5
    assert numbers - named == set()
