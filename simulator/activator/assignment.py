"""Which worker of a pool takes which waiting invocation (A1). Pure."""

import heapq
from collections.abc import Iterable

from msgspec import Struct

from simulator.activator.fleet import Condition, Worker


class Waiting(Struct, frozen=True):
    """An invocation that no worker has; `sequence` is its place in the stream, so lower is older."""

    invocation_id: str
    sequence: int


class Assignment(Struct, frozen=True):
    """This worker takes this invocation now."""

    invocation_id: str
    worker_name: str
    worker_namespace: str


def assign(waiting: Iterable[Waiting], workers: Iterable[Worker]) -> list[Assignment]:
    """Give the oldest invocations of one pool to the live workers that have least outstanding, ties by name (A1).

    Nobody is given more than its capacity; who is left waits on.
    """
    heap = [
        (worker.outstanding, worker.name, worker.namespace, worker.capacity)
        for worker in workers
        if worker.condition is Condition.LIVE and worker.outstanding < worker.capacity
    ]
    heapq.heapify(heap)
    room = sum(capacity - outstanding for outstanding, _, _, capacity in heap)
    assignments = []
    for each in heapq.nsmallest(room, waiting, key=lambda invocation: invocation.sequence):
        outstanding, name, namespace, capacity = heap[0]
        assignments.append(Assignment(each.invocation_id, name, namespace))
        if outstanding + 1 < capacity:
            heapq.heapreplace(heap, (outstanding + 1, name, namespace, capacity))
        else:
            heapq.heappop(heap)
    return assignments
