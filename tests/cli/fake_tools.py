"""Programs of other people, faked: they answer from a table, and write down how they were called."""

import json
import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PROGRAM = """#!{python}
import json, os, sys
from pathlib import Path

table = json.loads(Path({table!r}).read_text())
words = sys.argv[1:]
seen = {{"call": [{name!r}, *words], "provider": os.environ.get("KIND_EXPERIMENTAL_PROVIDER", "")}}
if words[:1] == ["build"]:
    seen["context"] = sorted(str(path.relative_to(words[-1])) for path in Path(words[-1]).glob("*/*"))
with open({log!r}, "a") as log:
    log.write(json.dumps(seen) + "\\n")
fits = [text for text in table if words[: len(text.split())] == text.split()]
out, err, code = table[max(fits, key=len)] if fits else ("", "", 0)
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


@dataclass(frozen=True)
class Answer:
    """What a fake program says, and how it ends."""

    out: str = ""
    err: str = ""
    code: int = 0


@dataclass
class FakeTools:
    """A directory that is the whole PATH. `add` puts a program there; one that is not there is missing."""

    directory: Path
    given: dict[str, dict[str, Answer]] = field(default_factory=dict)

    def add(self, name: str, **answers: str | Answer) -> None:
        """A program; the keys are the first words of its arguments, joined by `_`. Those of before stay."""
        table = self.given.setdefault(name, {})
        for words, answer in answers.items():
            table[words.replace("_", " ").strip()] = answer if isinstance(answer, Answer) else Answer(answer)
        path, stored = self.directory / name, self.directory / f".{name}.json"
        stored.write_text(json.dumps({words: [each.out, each.err, each.code] for words, each in table.items()}))
        path.write_text(_PROGRAM.format(python=sys.executable, name=name, table=str(stored), log=str(self._log)))
        path.chmod(0o755)

    def remove(self, name: str) -> None:
        """Take a program away."""
        (self.directory / name).unlink()

    @property
    def _log(self) -> Path:
        return self.directory / ".calls"

    def entries(self) -> list[dict[str, Any]]:
        """What was written down of each call, in order."""
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []

    def calls(self) -> list[str]:
        """The command lines that changed something, or asked for it to be changed; questions are left out."""
        lines = [shlex.join(entry["call"]) for entry in self.entries()]
        return [line for line in lines if not line.endswith(("version", "--version", "info", "--client"))]


def working_tools(directory: Path) -> FakeTools:
    """kind, kubectl and docker, new enough and at work; there is no cluster and no podman."""
    tools = FakeTools(directory)
    tools.add("kind", version="kind v0.31.0 go1.25.5 linux/amd64\n", get_clusters="")
    tools.add("kubectl", version="Client Version: v1.36.0\nKustomize Version: v5.8.0\n")
    tools.add("docker", **{"--version": "Docker version 28.2.2, build e6534b4\n", "info": "Server: ok\n"})
    return tools


def environment(tools: FakeTools) -> dict[str, str]:
    """This process's environment with no other programs than these."""
    return os.environ | {"PATH": str(tools.directory)}
