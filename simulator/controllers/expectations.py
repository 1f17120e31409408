"""What a controller did that its copy of the cluster does not show yet; until it does, the copy is no ground to act."""

from collections.abc import Callable
from typing import Final, Literal

from simulator.kube.informer import Key

EXPIRY_S: Final = 30.0
"""Should a change pass the copy by, in a break of its watch, the copy is right again by then."""

_Change = tuple[Literal["creation", "deletion"], Key]


class Expectations:
    """Pods, by the owner on whose behalf they were created or deleted; `clock` tells seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._owners: dict[_Change, Key] = {}
        self._open: dict[Key, set[_Change]] = {}
        self._latest: dict[Key, float] = {}

    def creation(self, owner: Key, pod: Key) -> None:
        """The pod was created and is to appear."""
        self._expect(owner, ("creation", pod))

    def deletion(self, owner: Key, pod: Key) -> None:
        """The pod is being deleted and is to be marked so, or to vanish."""
        self._expect(owner, ("deletion", pod))

    def seen(self, pod: Key, *, gone: bool) -> None:
        """The pod was seen to be there, or to be `gone` or going."""
        self._meet(("creation", pod))
        if gone:
            self._meet(("deletion", pod))

    def are_met(self, owner: Key) -> bool:
        """Whether nothing is expected for the owner any more."""
        if owner in self._open and self._clock() - self._latest[owner] >= EXPIRY_S:
            self.forget(owner)  # what was missed once must not hold up every later change too
        return owner not in self._open

    def forget(self, owner: Key) -> None:
        """The owner is gone."""
        for change in list(self._open.get(owner, ())):
            self._meet(change)

    def _expect(self, owner: Key, change: _Change) -> None:
        self._owners[change] = owner
        self._open.setdefault(owner, set()).add(change)
        self._latest[owner] = self._clock()

    def _meet(self, change: _Change) -> None:
        owner = self._owners.pop(change, None)
        if owner is None:
            return
        self._open[owner].discard(change)
        if not self._open[owner]:
            del self._open[owner], self._latest[owner]
