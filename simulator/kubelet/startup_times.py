"""How long the stages of a cold start take: pulling an image, starting a container, loading a model.

A stage takes no time unless a distribution is given, which is written as `DELAY[~JITTER][*WEIGHT]`, several of them
joined by a comma: `20s~5s*9,90s~30s*1` is 15 to 25 seconds in nine of ten cases, and 60 to 120 in the tenth.
"""

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Final

from simulator.errors import UsageError
from simulator.kube.kinds import Object

ANNOTATION_PREFIX: Final = "gpuunit-sim/"
"""`gpuunit-sim/image-pull`, for every container of the pod, or `gpuunit-sim/image-pull.<container>`."""

_COMPONENT: Final = re.compile(r"(?P<delay>[0-9.]+)(?P<unit>ms|s|m)?(?:~(?P<jitter>[0-9.]+)(?P<jitter_unit>ms|s|m)?)?"
                               r"(?:\*(?P<weight>[0-9.]+))?")  # fmt: skip
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}


@dataclass(frozen=True, slots=True)
class Component:
    """`delay_s` seconds, more or less up to `jitter_s`, chosen among others in proportion to `weight`."""

    delay_s: float
    jitter_s: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Distribution:
    """How long something takes. Each component is an even spread around its delay; without any it takes no time."""

    components: tuple[Component, ...] = ()

    def draw_s(self, chance: random.Random) -> float:
        """One value, in seconds."""
        if not self.components:
            return 0.0
        (one,) = chance.choices(self.components, [component.weight for component in self.components])
        return max(0.0, one.delay_s + chance.uniform(-one.jitter_s, one.jitter_s))


@dataclass(frozen=True, slots=True)
class StartupTimes:
    """The stages of one container's start."""

    image_pull: Distribution = Distribution()
    container_start: Distribution = Distribution()
    model_load: Distribution = Distribution()


STAGES: Final = {stage.name.replace("_", "-"): stage.name for stage in fields(StartupTimes)}
"""The stages as annotations and flags name them, and their fields."""


def parse_distribution(text: str) -> Distribution:
    """Read a distribution in the form that this module describes.

    Raises:
        UsageError: it has another form.
    """
    try:
        components = tuple(_component(part.strip()) for part in text.split(","))
        if sum(component.weight for component in components) <= 0:
            raise ValueError("no weight")
    except ValueError:
        raise UsageError(
            f"{text!r} is no distribution of times; write DELAY[~JITTER][*WEIGHT],... as 20s~5s*9"
        ) from None
    return Distribution(components)


def _component(text: str) -> Component:
    match = _COMPONENT.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return Component(
        float(match["delay"]) * _UNITS[match["unit"]],
        float(match["jitter"] or 0) * _UNITS[match["jitter_unit"]],
        float(match["weight"] or 1),
    )


def parse_startup(texts: Iterable[str]) -> dict[str, StartupTimes]:
    """Read the times of images, each in the form `IMAGE=STAGE:DISTRIBUTION`; an image may have several stages.

    Raises:
        UsageError: one has another form, or says again what was said before.
    """
    found: dict[str, dict[str, Distribution]] = {}
    for text in texts:
        image, _, times = text.partition("=")
        stage, _, distribution = times.partition(":")
        if not image or stage not in STAGES:
            raise UsageError(f"{text!r} must have the form IMAGE=STAGE:TIMES; the stages are {', '.join(STAGES)}")
        stages = found.setdefault(image, {})
        if STAGES[stage] in stages:
            raise UsageError(f"{text!r}: the {stage} of {image} was given before")
        stages[STAGES[stage]] = parse_distribution(distribution)
    return {image: StartupTimes(**stages) for image, stages in found.items()}


def startup_times(pod: Object, container: str, of_image: StartupTimes) -> StartupTimes:
    """The times of a container: annotations of its pod count before what is set for its image.

    Raises:
        UsageError: an annotation has another form.
    """
    annotations: Mapping[str, str] = pod["metadata"].get("annotations") or {}
    found: dict[str, Distribution] = {}
    for stage, attribute in STAGES.items():
        name = ANNOTATION_PREFIX + stage
        text = annotations.get(f"{name}.{container}", annotations.get(name))
        found[attribute] = getattr(of_image, attribute) if text is None else parse_distribution(text)
    return StartupTimes(**found)
