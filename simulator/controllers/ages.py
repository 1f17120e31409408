"""How long ago something happened, of which the API tells whole seconds only."""

from collections.abc import Callable, Hashable
from datetime import datetime

from simulator.controllers.pod_state import seconds_since
from simulator.kube.timestamps import now

FRESH_S = 2.0
"""A timestamp that is no older when it is first seen tells of something that happened just now."""


class Ages:
    """Ages of timestamps, in the cluster's seconds: `time_scale` of ours are one of them."""

    def __init__(self, time_scale: float, clock: Callable[[], float], wall: Callable[[], datetime] = now) -> None:
        self._time_scale = time_scale
        self._clock = clock
        self._wall = wall
        self._seen: dict[Hashable, tuple[str, float]] = {}

    def age_s(self, of: Hashable, stamp: str | None) -> float:
        """The age of what `of` has had since `stamp`; 0 without one."""
        if not stamp:
            self.forget(of)
            return 0.0
        moment = self._clock()
        known = self._seen.get(of)
        if known is None or known[0] != stamp:
            old = seconds_since(stamp, self._wall())
            known = self._seen[of] = (stamp, moment - (old if old > FRESH_S else 0.0))
        return (moment - known[1]) / self._time_scale

    def forget(self, of: Hashable) -> None:
        """There is no such thing any more."""
        self._seen.pop(of, None)
