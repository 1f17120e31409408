"""Getting a container's image, which here is a local program: at once, after a while, or never."""

import random
import time
from typing import Final

from simulator.kube.kinds import Object
from simulator.kubelet.backoff import pull_delay_s
from simulator.kubelet.context import PodContext
from simulator.kubelet.image_names import name_problem, pull_policy
from simulator.kubelet.images import (
    IMAGE_SUBSTITUTED,
    IMAGE_UNKNOWN,
    Program,
    UnknownImageError,
    substitution_notice,
)
from simulator.kubelet.reporting import Reporter
from simulator.kubelet.startup_times import StartupTimes
from simulator.kubelet.states import Waiting
from simulator.kubelet.stopping import Stopping

SYNC_PERIOD_S: Final = 1.0
"""How long (scaled) what happened to a container shows before a kubelet looks at its pod again."""
RESYNC_PERIOD_S: Final = 10.0
"""How often (scaled) a kubelet looks at a pod that waits for something, at least."""
IMAGE_BYTES: Final = 0
"""The size that is told of an image: a local program has none."""


class ImagePuller:
    """Gets the image of one container, again and again if need be, and tells of it as a kubelet does."""

    def __init__(self, context: PodContext, spec: Object, report: Reporter, stopping: Stopping) -> None:
        self.substituted = False
        self._context = context
        self._spec = spec
        self._image: str = spec.get("image", "")
        self._report = report
        self._stopping = stopping
        self._delay_s = 0.0

    async def program(self, times: StartupTimes) -> Program | None:
        """Try once; None if there is no image, or the container is to end. Then it was told, and waited for."""
        if problem := name_problem(self._image):
            await self._refuse("InspectFailed", "InvalidImageName", problem)
            return None
        images, policy = self._context.node.images, pull_policy(self._spec)
        try:
            program = images.resolve(self._context.pod, self._spec)
        except UnknownImageError as error:
            if policy == "Never":
                await self._refuse_absent()
            else:
                await self._show_failed_pull(str(error), error.hint)
            return None
        present = not times.image_pull.components or self._context.node.pulled.has(self._image, time.monotonic())
        if policy == "Never" and not present:
            await self._refuse_absent()
            return None
        if policy == "Always" or not present:
            await self._pull(0.0 if present else times.image_pull.draw_s(random.SystemRandom()))
        else:
            held = f'Container image "{self._image}" already present on machine and can be accessed by the pod'
            self._report.emit("Pulled", held)
        if self._stopping.asked:
            return None
        self._note_substitution(program)
        return program

    async def waited(self, waiting: Waiting) -> None:
        """After a failure: what went wrong shows at the next look at the pod; from then on looks are rarer."""
        first = self._report.record.state != waiting
        await self._stopping.pause(SYNC_PERIOD_S if first else RESYNC_PERIOD_S)
        if first and not self._stopping.asked:
            await self._report.show_waiting(waiting)

    async def _pull(self, takes_s: float) -> None:
        began = time.monotonic()
        self._report.emit("Pulling", f'Pulling image "{self._image}"')
        await self._stopping.pause_unscaled(self._context.node.pulled.pull(self._image, began, takes_s))
        if self._stopping.asked:
            return
        took = format_seconds(time.monotonic() - began)
        self._report.emit(
            "Pulled",
            f'Successfully pulled image "{self._image}" in {took} ({took} including waiting). '
            f"Image size: {IMAGE_BYTES} bytes.",
        )

    async def _refuse_absent(self) -> None:
        problem = f'Container image "{self._image}" is not present with pull policy of Never'
        await self._refuse("ErrImageNeverPull", "ErrImageNeverPull", problem)

    async def _refuse(self, event: str, reason: str, problem: str) -> None:
        self._report.emit(event, problem, "Warning")
        self._report.emit("Failed", f"Error: {reason}", "Warning")
        await self.waited(Waiting(reason, problem))

    async def _show_failed_pull(self, problem: str, hint: str) -> None:
        image, emit = self._image, self._report.emit
        self._delay_s = pull_delay_s(self._delay_s)
        emit("Pulling", f'Pulling image "{image}"')
        emit("Failed", f'Failed to pull image "{image}": {problem}', "Warning")
        emit("Failed", "Error: ErrImagePull", "Warning")
        if hint:
            emit(IMAGE_UNKNOWN, hint, "Warning")
        await self._stopping.pause(SYNC_PERIOD_S)
        if self._stopping.asked:
            return
        await self._report.show_waiting(Waiting("ErrImagePull", problem))
        emit("BackOff", f'Back-off pulling image "{image}"')
        emit("Failed", "Error: ImagePullBackOff", "Warning")
        await self._stopping.pause(SYNC_PERIOD_S)
        if self._stopping.asked:
            return
        message = f'Back-off pulling image "{image}": ErrImagePull: {problem}'
        await self._report.show_waiting(Waiting("ImagePullBackOff", message))
        await self._stopping.pause(self._delay_s - 2 * SYNC_PERIOD_S)

    def _note_substitution(self, program: Program) -> None:
        if program.substituted and not self.substituted:
            self.substituted = True
            self._report.emit(IMAGE_SUBSTITUTED, substitution_notice(self._image), "Warning")


def format_seconds(seconds: float) -> str:
    """A duration as kubelets print it: `1.234s`, `56ms`, `1m2.5s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:g}s"
    return f"{minutes}m{text}" if minutes else text
