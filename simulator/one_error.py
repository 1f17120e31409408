"""The error that a person is told of, where tasks failed together."""

import contextlib
from collections.abc import Iterator

from sidecar.queue import QueueError
from simulator.errors import SimulatorError


@contextlib.contextmanager
def one_error() -> Iterator[None]:
    """Raise the first of our own errors, or of the queue's, instead of the group that the tasks put it in."""
    try:
        yield
    except BaseExceptionGroup as group:
        ours = group.subgroup((SimulatorError, QueueError))
        if ours is None:
            raise
        raise _first(ours) from group


def _first(error: Exception) -> Exception:
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error
