"""Which local program stands for a container image (there is no container runtime here)."""

import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from simulator.gpuunit import RUNTIME_CONTAINER, SIDECAR_CONTAINER
from simulator.kube.kinds import Object
from simulator.kubelet.startup_times import StartupTimes

IMAGE_UNKNOWN = "ImageUnknown"
"""Reason of the event that tells how to name a program for an image that cannot be pulled."""
IMAGE_SUBSTITUTED = "ImageSubstituted"
"""Reason of the event, and of the pod's status, when the echo framework runs in place of a user's image."""
SIDECAR_IMAGE = "ghcr.io/lokiwager/gpu-runtime-serverless-sidecar:latest"
ECHO_IMAGE = "gpuunit-sim/echo:latest"

_ECHO_COMMAND = (sys.executable, "-m", "framework.echo")
_SIDECAR_COMMAND = (sys.executable, "-m", "sidecar")


@dataclass(frozen=True, slots=True)
class Program:
    """A command line to run for a container. `cwd` None means the container's own scratch directory.

    `substituted` says that it is not the user's image that runs, but the echo framework in its place. `needs` are files
    of this machine without which the program cannot run.
    """

    command: tuple[str, ...]
    cwd: Path | None = None
    substituted: bool = False
    needs: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """An image that cannot be pulled; `problem` is what the registry, or the way to it, has to say."""

    problem: str


class UnknownImageError(LookupError):
    """The image cannot be pulled; the text is what a container runtime says, `hint` how to name a program for it."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.hint = hint


class ImageTable:
    """Image -> program.

    `images` adds to and replaces the built-in entries (the sidecar's image and the echo framework's).
    `startup` says how long starts from an image take, `*` from any other.
    `sidecar_command` runs for every sidecar and `framework_command` for the runtime container of every serverless
    pod, whatever their images and commands are; both run in the current directory of this process.
    """

    def __init__(
        self,
        images: Mapping[str, Sequence[str] | Program | Missing] | None = None,
        *,
        sidecar_command: Sequence[str] | None = None,
        framework_command: Sequence[str] | None = None,
        startup: Mapping[str, StartupTimes] | None = None,
    ) -> None:
        self._programs = {SIDECAR_IMAGE: Program(_SIDECAR_COMMAND), ECHO_IMAGE: Program(_ECHO_COMMAND)}
        self._missing: dict[str, Missing] = {}
        self._startup = dict(startup or {})
        for image, entry in (images or {}).items():
            if isinstance(entry, Missing):
                self._missing[image] = entry
            else:
                self._programs[image] = entry if isinstance(entry, Program) else _local_program(entry)
        here = Path.cwd()
        self._sidecar = _local_program(sidecar_command, here) if sidecar_command else None
        self._framework = _local_program(framework_command, here) if framework_command else None

    def startup(self, image: str) -> StartupTimes:
        """How long a start from this image takes; the times of `*` hold for all that have none of their own."""
        return self._startup.get(image) or self._startup.get("*") or StartupTimes()

    def resolve(self, pod: Object, container: Object) -> Program:
        """Return the program to run for a container, its arguments included.

        Raises:
            UnknownImageError: the image is known to be missing, or has no entry and the container no command.
        """
        name, image = container["name"], container.get("image", "")
        if missing := self._missing.get(image):
            raise UnknownImageError(missing.problem)
        is_framework = name == RUNTIME_CONTAINER and _has_sidecar(pod)
        if name == SIDECAR_CONTAINER and self._sidecar:
            return self._sidecar
        if is_framework and self._framework:
            return self._framework
        arguments = tuple(container.get("args") or ())
        if command := container.get("command"):
            return Program((*command, *arguments))
        if program := self._programs.get(image):
            return replace(program, command=(*program.command, *arguments))
        if is_framework:
            return Program(_ECHO_COMMAND, substituted=True)
        raise UnknownImageError(
            not_found(image),
            f'image "{image}" is not in the table of local programs (known: {", ".join(sorted(self._programs))}); '
            f"add it with --image {image}=COMMAND, or give the container a command",
        )


class NodeImages:
    """The images that took their time to be pulled to a node. `now` is any clock, in seconds."""

    def __init__(self) -> None:
        self._there_at: dict[str, float] = {}

    def has(self, image: str, now: float) -> bool:
        """Whether the image is here."""
        return self._there_at.get(image, math.inf) <= now

    def pull(self, image: str, now: float, takes_s: float) -> float:
        """Return after how many seconds the image is here; a pull that is under way is not begun again."""
        return max(0.0, self._there_at.setdefault(image, now + takes_s) - now)


def not_found(image: str) -> str:
    """What a container runtime says of an image that its registry does not have."""
    unpack = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}"'
    return f"rpc error: code = NotFound desc = {unpack}: {image}: not found"


def _local_program(command: Sequence[str], cwd: Path | None = None) -> Program:
    """The program of a command that was given to the platform itself, not by a pod: it gets the files that it names."""
    named = [part for part in command if Path(part).is_absolute()]
    if found := shutil.which(command[0]):
        named.append(found)
    return Program(tuple(command), cwd, needs=tuple(map(Path, named)))


def _has_sidecar(pod: Object) -> bool:
    return any(entry["name"] == SIDECAR_CONTAINER for entry in pod["spec"].get("initContainers") or ())


def substitution_notice(image: str) -> str:
    """Say what runs in place of an image, and how to have it otherwise."""
    return (
        f'image "{image}" cannot run here: the echo framework runs in its place; '
        f"name a program with --image {image}=COMMAND or --framework-command"
    )
