"""The tables of docs/wire.md say what the types, the golden messages and the settings say."""

import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from fixtures import wire
from fixtures.wire.message_schemas import MESSAGES, always_written, values_of
from sidecar import config
from sidecar.messages import FailureClass

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
CODE = re.compile(r"`([^`]+)`")


def rows(first_header: str) -> list[list[str]]:
    """The cells of the rows of the table whose first column has this header."""
    table = PAGE.partition(f"| {first_header} |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def test_the_fields_are_those_of_the_types() -> None:
    listed = {
        name: (CODE.findall(always), CODE.findall(rest)) for name, always, rest in rows("message | always written")
    }
    by_type: dict[str, tuple[list[str], list[str]]] = {}
    for name, message_type in MESSAGES.items():
        fields = msgspec.structs.fields(message_type)
        by_type[name] = (
            [field.encode_name for field in fields if always_written(field)],
            [field.encode_name for field in fields if not always_written(field)],
        )
    assert listed == by_type


def test_the_failure_classes_are_those_of_the_golden_results() -> None:
    listed = {CODE.findall(name)[0]: (state.strip("`"), status) for name, state, status, _ in rows("`failureClass`")}
    assert set(listed) == set(values_of(FailureClass))
    for case in wire.golden("InvocationResultMessage"):
        found = listed.get(case.meaning["failureClass"])
        if found and "produce" in case.schemas:
            state, status = found
            assert (case.meaning["state"], case.name) == (state, case.name)
            assert status in {str(case.meaning["statusCode"]), "the handler's"}


def pattern(text: str) -> str:
    """A regular expression for a subject or an id of the table, its placeholders being any token."""
    template = CODE.findall(text)[0].replace("<P>", "runtime.serverless").replace("<token of invocationID>", "<id>")
    suffix = r"(-[0-9]+(\.[0-9]+)?)?" if len(CODE.findall(text)) > 1 else ""
    return re.sub(r"<[A-Za-z]+>", "[^ ]+", template.replace(".", r"\.")) + suffix


@pytest.mark.parametrize(
    "message_type", [name for name in MESSAGES if name not in {"InvocationRequest", "InvocationResponse"}]
)
def test_the_golden_messages_have_the_subjects_and_ids_of_the_table(message_type: str) -> None:
    listed = [
        (pattern(subject), pattern(ids))
        for name, subject, ids in rows("message | subject")
        if name.split()[0] == message_type
    ]
    for case in wire.golden(message_type):
        assert any(
            re.fullmatch(subject, case.subject) and re.fullmatch(ids, case.message_id) for subject, ids in listed
        ), case


def test_every_setting_that_the_page_names_exists() -> None:
    named = set(re.findall(r"SERVERLESS_[A-Z_]+", PAGE))
    assert len(named) > 5
    assert named <= {value for value in vars(config).values() if isinstance(value, str)}


def test_every_file_that_the_page_names_exists() -> None:
    paths = [path for path in re.findall(r"fixtures/wire/[\w/.-]*", PAGE) if path]
    assert paths
    assert all((ROOT / path).exists() for path in paths)


@pytest.mark.e2e
@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_page_s_javascript_passes_the_rules() -> None:
    code = re.findall(r"```js\n(.*?)```", PAGE, re.DOTALL)[0]
    ended = subprocess.run(["node", "-e", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ended.stderr == ""
    assert ended.stdout == f"{len(wire.rules('dispatch-token'))} tokens as they should be\n"
