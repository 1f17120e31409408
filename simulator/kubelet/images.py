"""Which local program stands for a container image (there is no container runtime here)."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from simulator.kube.kinds import Object

RUNTIME_CONTAINER = "runtime-worker"
SIDECAR_CONTAINER = "serverless-sidecar"
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


class UnknownImageError(LookupError):
    """No program is known for the image; the message says how to name one."""


class ImageTable:
    """Image -> program.

    `images` adds to and replaces the built-in entries (the sidecar's image and the echo framework's).
    `sidecar_command` runs for every sidecar and `framework_command` for the runtime container of every serverless
    pod, whatever their images and commands are; both run in the current directory of this process.
    """

    def __init__(
        self,
        images: Mapping[str, Sequence[str] | Program] | None = None,
        *,
        sidecar_command: Sequence[str] | None = None,
        framework_command: Sequence[str] | None = None,
    ) -> None:
        self._programs = {SIDECAR_IMAGE: Program(_SIDECAR_COMMAND), ECHO_IMAGE: Program(_ECHO_COMMAND)}
        for image, entry in (images or {}).items():
            self._programs[image] = entry if isinstance(entry, Program) else _local_program(entry)
        here = Path.cwd()
        self._sidecar = _local_program(sidecar_command, here) if sidecar_command else None
        self._framework = _local_program(framework_command, here) if framework_command else None

    def resolve(self, pod: Object, container: Object) -> Program:
        """Return the program to run for a container, its arguments included.

        Raises:
            UnknownImageError: the container has no command, and its image is not in the table.
        """
        name, image = container["name"], container.get("image", "")
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
            f'image "{image}" is not in the table of local programs (known: {", ".join(sorted(self._programs))}); '
            f"add it with --image {image}=COMMAND, or give the container a command"
        )


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
