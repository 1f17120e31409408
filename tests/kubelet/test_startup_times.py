"""How long the stages of a start take: what can be written, and what is drawn from it."""

import random
from typing import Any

import pytest

from simulator.errors import UsageError
from simulator.kubelet.images import ImageTable, NodeImages
from simulator.kubelet.startup_times import (
    Component,
    Distribution,
    StartupTimes,
    parse_distribution,
    parse_startup,
    startup_times,
)

DRAWS = 1000


def fixed(delay_s: float) -> Distribution:
    return Distribution((Component(delay_s),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", (Component(3),)),
        ("250ms", (Component(0.25),)),
        ("2m~30s", (Component(120, 30),)),
        ("1.5s~500ms", (Component(1.5, 0.5),)),
        ("20s~5s*9, 90s~30s*1", (Component(20, 5, 9), Component(90, 30, 1))),
        ("0s*0,1s*2", (Component(0, 0, 0), Component(1, 0, 2))),
    ],
)
def test_distributions_that_can_be_written(text: str, expected: tuple[Component, ...]) -> None:
    assert parse_distribution(text) == Distribution(expected)


@pytest.mark.parametrize("text", ["", "x", "1s,", "-1s", "1h", "1s~", "1s*", "1s*0", "1..2s", "1s 2s"])
def test_what_is_no_distribution(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no distribution of times; write DELAY\[~JITTER\]"):
        parse_distribution(text)


def test_draws_stay_within_their_components_and_keep_the_weights() -> None:
    chance = random.Random(1)
    drawn = [parse_distribution("20s~5s*9,90s~30s*1").draw_s(chance) for _ in range(DRAWS)]
    short = [value for value in drawn if 15 <= value <= 25]
    assert all(60 <= value <= 120 for value in drawn if value not in short)
    assert 0.85 * DRAWS < len(short) < 0.95 * DRAWS
    assert min(short) < 16
    assert max(short) > 24


def test_no_time_is_negative_and_no_distribution_takes_none() -> None:
    chance = random.Random(1)
    drawn = [parse_distribution("1s~3s").draw_s(chance) for _ in range(DRAWS)]
    assert min(drawn) == 0
    assert max(drawn) <= 4
    assert Distribution().draw_s(chance) == 0


def test_the_times_of_images_as_a_command_line_gives_them() -> None:
    assert parse_startup(["registry:5000/sd:1=image-pull:20s", "*=model-load:1s", "*=container-start:2s"]) == {
        "registry:5000/sd:1": StartupTimes(image_pull=fixed(20)),
        "*": StartupTimes(model_load=fixed(1), container_start=fixed(2)),
    }


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["sd:1"], "must have the form IMAGE=STAGE:TIMES; the stages are image-pull, container-start, model-load"),
        (["=image-pull:1s"], "must have the form"),
        (["sd:1=pull:1s"], "must have the form"),
        (["sd:1=image-pull"], "'' is no distribution"),
        (["sd:1=image-pull:1s", "sd:1=image-pull:2s"], "the image-pull of sd:1 was given before"),
    ],
)
def test_times_of_images_that_cannot_be_read(texts: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_startup(texts)


def pod_with(annotations: dict[str, str] | None) -> dict[str, Any]:
    return {"metadata": {} if annotations is None else {"annotations": annotations}}


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        (None, StartupTimes(fixed(1), fixed(2), fixed(3))),
        ({"gpuunit-sim/model-load": "9s"}, StartupTimes(fixed(1), fixed(2), fixed(9))),
        (
            {"gpuunit-sim/model-load": "9s", "gpuunit-sim/model-load.main": "8s", "gpuunit-sim/image-pull.side": "7s"},
            StartupTimes(fixed(1), fixed(2), fixed(8)),
        ),
    ],
)
def test_annotations_count_before_the_image(annotations: dict[str, str] | None, expected: StartupTimes) -> None:
    of_image = StartupTimes(fixed(1), fixed(2), fixed(3))
    assert startup_times(pod_with(annotations), "main", of_image) == expected


def test_an_image_is_pulled_once_however_many_pods_ask_for_it() -> None:
    images = NodeImages()
    assert not images.has("sd:1", now=0)
    assert images.pull("sd:1", now=0, takes_s=20) == 20
    assert images.pull("sd:1", now=5, takes_s=90) == 15
    assert not images.has("sd:1", now=19)
    assert images.has("sd:1", now=20)
    assert images.pull("sd:1", now=30, takes_s=90) == 0
    assert not images.has("other:1", now=30)


def test_the_star_stands_for_every_other_image() -> None:
    table = ImageTable(startup=parse_startup(["sd:1=model-load:1s", "*=model-load:2s"]))
    assert table.startup("sd:1").model_load == fixed(1)
    assert table.startup("other:1").model_load == fixed(2)
    assert ImageTable().startup("other:1") == StartupTimes()
