"""A recorded session, played with the real kubectl against the embedded API with controllers and a kubelet."""

import asyncio
import json
import re
import shlex
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.kube.history import Listener
from simulator.kube.kinds import Kind
from simulator.kube.store import ResourceStore
from tests.kube.replay.placeholders import Placeholders

SESSION = Path(__file__).parents[1] / "kube" / "golden" / "kubectl" / "session.jsonl"
NAMESPACE = "scratch-kubectl"
WAIT_S = 60
IN_BACKGROUND = {37: 1, 38: 2, 39: 3}
"""Commands, by number, that watch while the session goes on, and how many watches are open once each has begun."""
END_OF_BACKGROUND = 44
"""The last command that the watches see."""
_ELEMENT = r"[bcdfghjklmnpqrstvwxz2456789]"
_TEMPLATE_HASH = re.compile(rf"(?<=d1-){_ELEMENT}{{7,10}}\b|(?<=pod-template-hash=){_ELEMENT}{{7,10}}\b")
_VERSION = re.compile(r"\bv?1\.\d+(?:\.\d+)?(?:[-+][\w.-]+)?\b|(?<=Kustomize Version: )\S+")


@dataclass(frozen=True, slots=True)
class Command:
    """One line of the session."""

    number: int
    line: str
    stdin: str | None
    exit: int | str
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What our kubectl gave back."""

    exit: int | None
    stdout: str
    stderr: str


def recorded_session() -> list[Command]:
    """All commands, in the order of the session."""
    return [_command(json.loads(line)) for line in SESSION.read_text().splitlines()]


def _command(entry: dict[str, Any]) -> Command:
    stdin = entry.get("stdin")
    text = stdin if isinstance(stdin, str) or stdin is None else json.dumps(stdin)
    return Command(entry["seq"], entry["command"], text, entry["exit"], entry["stdout"], entry["stderr"])


class WatchedStore(ResourceStore):
    """A store that tells how many watches of a kind are open."""

    watched = "GPUUnit"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.watches = 0
        self.changed = asyncio.Event()

    def listen(self, kind: Kind, listener: Listener, on_end: Callable[[], None] = lambda: None) -> Callable[[], None]:
        """As that of a store."""
        end = super().listen(kind, listener, on_end)
        self._count(kind, 1)
        ended = False

        def end_once() -> None:
            nonlocal ended
            if not ended:
                self._count(kind, -1)
            ended = True
            end()

        return end_once

    async def until_watched(self, number: int) -> None:
        """Wait until so many watches are open."""
        async with asyncio.timeout(WAIT_S):
            while self.watches < number:
                self.changed.clear()
                await self.changed.wait()

    def _count(self, kind: Kind, number: int) -> None:
        if kind.kind == self.watched:
            self.watches += number
            self.changed.set()


class KubectlSession:
    """Plays commands one after the other, and says how each answer differs from the recorded one."""

    def __init__(self, kubectl: Path, kubeconfig: Path, home: Path, store: WatchedStore) -> None:
        self._kubectl = kubectl
        self._environment = {"KUBECONFIG": str(kubeconfig), "HOME": str(home), "PATH": "/usr/bin:/bin"}
        self._store = store
        self._names = Placeholders()
        self._background: dict[int, tuple[Command, asyncio.Task[Answer]]] = {}

    async def play(self, command: Command) -> dict[int, list[str]]:
        """Run a command, and those in the background to their end when it is time; the differences by number."""
        if command.number in IN_BACKGROUND:
            self._background[command.number] = command, asyncio.create_task(self._run(command))
            await self._store.until_watched(IN_BACKGROUND[command.number])
            return {}
        found = {command.number: self._differences(command, await self._run(command))}
        if command.number == END_OF_BACKGROUND:
            for number, (watching, task) in self._background.items():
                found[number] = self._differences(watching, await task)
        return found

    async def _run(self, command: Command) -> Answer:
        process = await asyncio.create_subprocess_exec(
            self._kubectl, f"--namespace={NAMESPACE}", *shlex.split(command.line)[1:],
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )  # fmt: skip
        try:
            async with asyncio.timeout(WAIT_S):
                if command.exit == "interrupted":
                    return await _interrupted(process, command.stdout.count("\n"))
                stdin = json.dumps(self._names.fill_in(command.stdin)) if command.stdin else None
                stdin = json.loads(stdin) if stdin else None
                stdout, stderr = await process.communicate(stdin.encode() if stdin else None)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Answer(process.returncode, stdout.decode(), stderr.decode())

    def _differences(self, command: Command, answer: Answer) -> list[str]:
        problems = []
        if command.exit not in ("interrupted", answer.exit):
            problems.append(f"exit code {command.exit} was recorded, {answer.exit} given")
        outputs = {"stdout": (command.stdout, answer.stdout), "stderr": (command.stderr, answer.stderr)}
        for name, texts in outputs.items():
            recorded, given = (_comparable(text) for text in texts)
            if command.line.startswith("kubectl rollout status"):
                # How many steps it saw depends on when it looked; it always says how it ended.
                recorded, given = recorded[-1:], given[-1:]
            problems += self._names.differences(recorded, given, name)
        return problems


async def _interrupted(process: asyncio.subprocess.Process, lines: int) -> Answer:
    """Read so many lines, then end the command as Ctrl-C does."""
    assert process.stdout is not None
    assert process.stderr is not None
    read = [await process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGINT)
    rest, stderr = await process.communicate()
    return Answer(process.returncode, b"".join([*read, rest]).decode(), stderr.decode())


def _comparable(text: str) -> list[Any]:
    """The lines of an output, with columns that are two spaces apart, however wide they were; or what JSON says."""
    if text.startswith('{"'):
        return [json.loads(text)]
    text = _TEMPLATE_HASH.sub("<template-hash>", _VERSION.sub("<version>", text))
    return [_columns(line) for line in text.splitlines()]


def _columns(line: str) -> str:
    indent = len(line) - len(line.lstrip(" "))
    return " " * indent + re.sub(r" {2,}", "  ", line.strip())
