"""What was written is known before an informer shows it."""

import pytest

from simulator.kube.kinds import GPUUNIT, SERVICE, Object
from simulator.reconciler.latest import Latest

KEY = ("ns", "u1")


def version(number: int) -> Object:
    return {"metadata": {"resourceVersion": str(number)}}


@pytest.mark.parametrize(
    ("seen", "latest"),
    [
        pytest.param(version(1), version(2), id="still-the-older"),
        pytest.param(version(2), version(2), id="caught-up"),
        pytest.param(version(3), version(3), id="changed-by-others-since"),
        pytest.param(None, None, id="gone"),
    ],
)
def test_which_object_is_the_latest(seen: Object | None, latest: Object | None) -> None:
    known = Latest()
    known.wrote(GPUUNIT, KEY, version(1), version(2))
    assert known.of(GPUUNIT, KEY, seen) == latest
    assert known.of(SERVICE, KEY, version(1)) == version(1)


def test_what_the_informer_has_passed_is_forgotten() -> None:
    known = Latest()
    known.wrote(GPUUNIT, KEY, version(1), version(2))
    assert known.of(GPUUNIT, KEY, None) is None
    assert known.of(GPUUNIT, KEY, version(1)) == version(1)
