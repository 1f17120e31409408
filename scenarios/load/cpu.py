"""CPU time by part of the platform: which of the processes below this one are which, and what each has used."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import psutil

PLATFORM: Final = "platform"
"""This process: API, activator, result store, reconciler, kubelet and Kubernetes API, as tasks."""

PARTS: Final = {
    "nats-server": "nats",
    "simulator.activator": "activator",
    "framework.": "framework",
    "sidecar": "sidecar",
}
"""Which part a program is of, by how its name begins. The activator has a process of its own only when somebody
starts it so; else its time is in the platform's."""


def part_of(command: Sequence[str]) -> str | None:
    """The part that a process belongs to, by its command line; None when it is none of these."""
    names = [word.rpartition("/")[2] for word in command[:1]]
    names += [command[command.index("-m") + 1]] if "-m" in command[:-1] else []
    return next((part for name in names for start, part in PARTS.items() if name.startswith(start)), None)


def cpu_seconds() -> dict[str, float]:
    """CPU seconds that the living processes of each part have used so far."""
    this = psutil.Process()
    used: defaultdict[str, float] = defaultdict(float, {PLATFORM: _seconds(this)})
    for process in this.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            part = part_of(process.cmdline())
            if part is not None:
                used[part] += _seconds(process)
    return dict(used)


def microseconds_each(before: Mapping[str, float], after: Mapping[str, float], count: int) -> dict[str, float]:
    """What one of `count` invocations took of each part, in CPU microseconds."""
    return {part: (seconds - before.get(part, 0.0)) / count * 1e6 for part, seconds in after.items()} if count else {}


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
