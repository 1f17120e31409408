"""What a scenario sees of the platform that it runs on, wherever that is."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from sidecar.queue import Queue
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.targets.faults import Faults


@dataclass(frozen=True, slots=True)
class Target:
    """A running platform. `queue` may do everything in it, `cluster` is where its units and their pods are, and `units`
    a copy of all units that is kept up to date.

    Units whose framework is the echo run `echo_image`; `python` is the interpreter in it, which also finds the rest of
    the package `framework`. On a platform that others use too, and that outlives the scenario, `suffix` makes names
    the scenario's own: all units of pools that end with it are deleted afterwards. `directory` is where the platform's
    files stay, when they do.
    """

    api_url: str
    queue: Queue
    cluster: Cluster
    units: Informer
    faults: Faults
    echo_image: str
    python: str
    suffix: str = ""
    directory: Path | None = None


OpenTarget = Callable[[], AbstractAsyncContextManager[Target]]
"""Gives the target of one scenario for the time of a block."""
