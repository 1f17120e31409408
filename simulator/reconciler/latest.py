"""What we wrote ourselves is known before the watch tells of it: so nothing is written twice from an older copy."""

from simulator.kube.informer import Key
from simulator.kube.kinds import Kind, Object


class Latest:
    """Answers to our writes, each for as long as an informer still shows the version that was written over."""

    def __init__(self) -> None:
        self._answers: dict[tuple[Kind, Key], tuple[str, Object]] = {}

    def wrote(self, kind: Kind, key: Key, over: Object, answer: Object) -> None:
        """A write over this object was answered with that one."""
        self._answers[kind, key] = _version(over), answer

    def of(self, kind: Kind, key: Key, seen: Object | None) -> Object | None:
        """The object as it is, as far as is known: as an informer shows it, or newer."""
        version, answer = self._answers.get((kind, key), ("", None))
        if seen is not None and version == _version(seen):
            return answer
        self._answers.pop((kind, key), None)
        return seen


def _version(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])
