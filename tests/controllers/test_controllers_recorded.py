"""The controllers against recordings of a real cluster: with the same inputs they write the same, in the same order."""

from pathlib import Path

import pytest

from tests.controllers.player import playing
from tests.controllers.recording import lines, names

WITH_A_GPU = ("gpu-rolling-stuck", "gpu-two-replicas-one-gpu")
MOMENTARY = {
    # The embedded API marks the pods of a ReplicaSet in the same step as the ReplicaSet, and removes all in one.
    "delete-deployment-foreground": {("ReplicaSet", 5), ("Deployment", 9)},
    # It marks and removes a pod in one step, so that nobody sees it go.
    "delete-force": {("ReplicaSet", 4), ("Deployment", 5)},
}
"""States, by kind and position, that are too short for our controllers to see what they tell of."""
UNSETTLED = (
    "more-init-order",
    "more-prestop-fails",
    "more-prestop-too-slow",
    "more-rollback-bad-image",
    "more-sidecar-ignores-term",
)
"""Recorded for kubelets: what was done next was done while the controllers were still at work."""
NAMES = [name for name in names() if name not in UNSETTLED]


@pytest.mark.parametrize("name", NAMES)
async def test_controllers_write_what_was_recorded(name: str, tmp_path: Path) -> None:
    recorded = lines(name)
    async with playing(tmp_path, recorded, int(name in WITH_A_GPU), MOMENTARY.get(name, ())) as player:
        for line in recorded:
            await player.play(line)
        await player.settle()
    assert player.expected.keys() == {each for each, states in player.observed.items() if states}


def test_there_are_recordings() -> None:
    assert len(names()) == 60
