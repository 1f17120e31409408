"""The pods that wait for a node: who is tried next, and who only when something changes."""

import heapq
import itertools
from dataclasses import dataclass
from typing import Final

from simulator.kube.informer import Key

FIRST_BACKOFF_S: Final = 1.0
LONGEST_BACKOFF_S: Final = 10.0


@dataclass(slots=True)
class _Waiting:
    since: float
    attempts: int = 0
    retry_at: float = 0.0
    parked: bool = False


class SchedulingQueue:
    """Pods in the order in which they are tried. Times are seconds of one clock, in the cluster's time.

    A pod that fits nowhere is parked, and tried again when `wake` says that something changed. One that failed lately
    then comes after all others; its back-off doubles with each attempt. Nothing waits for a back-off to end.
    """

    def __init__(self) -> None:
        self._pods: dict[Key, _Waiting] = {}
        self._ready: list[tuple[bool, float, int, Key]] = []
        self._numbers = itertools.count()

    def add(self, pod: Key, now: float) -> None:
        """The pod wants a node. One that waits already stays where it is."""
        if pod not in self._pods:
            self._pods[pod] = _Waiting(now)
            self._push(pod, now)

    def remove(self, pod: Key) -> None:
        """The pod has a node, or is gone."""
        self._pods.pop(pod, None)

    def next(self) -> Key | None:
        """Take the pod that is tried next; `park` or `remove` must follow."""
        while self._ready:
            *_, pod = heapq.heappop(self._ready)
            waiting = self._pods.get(pod)
            if waiting is not None and not waiting.parked:
                return pod
        return None

    def park(self, pod: Key, now: float) -> None:
        """The pod fitted nowhere."""
        if waiting := self._pods.get(pod):
            backoff_s = min(FIRST_BACKOFF_S * 2.0**waiting.attempts, LONGEST_BACKOFF_S)
            waiting.attempts += 1
            waiting.retry_at, waiting.since, waiting.parked = now + backoff_s, now, True

    def wake(self, now: float) -> bool:
        """Something changed: every parked pod is tried again. Return whether there was one."""
        parked = [pod for pod, waiting in self._pods.items() if waiting.parked]
        for pod in parked:
            self._pods[pod].parked = False
            self._push(pod, now)
        return bool(parked)

    def _push(self, pod: Key, now: float) -> None:
        waiting = self._pods[pod]
        backing_off = waiting.retry_at > now
        at = waiting.retry_at if backing_off else waiting.since
        heapq.heappush(self._ready, (backing_off, at, next(self._numbers), pod))
