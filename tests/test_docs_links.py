"""What the pages point to exists: other pages, their sections, files of the repository."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", *(f"docs/{page.name}" for page in ROOT.glob("docs/*.md")))
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
CODE_FILE = re.compile(r"`((?:[a-z_]+/)+[\w.]+\.py)`((?:, `\w+\.py`)*)")


def anchors(page: Path) -> set[str]:
    """The sections that a link can name."""
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


@pytest.mark.parametrize("name", PAGES)
def test_files_of_the_program_exist(name: str) -> None:
    for first, others in CODE_FILE.findall((ROOT / name).read_text(encoding="utf-8")):
        for file in (first, *(f"{Path(first).parent}/{other}" for other in re.findall(r"\w+\.py", others))):
            assert (ROOT / file).exists(), file


def test_there_are_links_and_files() -> None:
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    assert len(LINK.findall(text)) > 30
    assert len(CODE_FILE.findall(text)) > 10


def test_every_page_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page for page in PAGES if page.startswith("docs/") and f"({page})" not in readme] == []
