"""A kubelet as the API server sees it: the logs of containers, and commands in them.

Texts and refusals are those that `kubectl logs` and `kubectl exec` get from a cluster.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from simulator.kube.kinds import POD
from simulator.kube.pod_streams import ExecClient, ExecOptions, LogOptions
from simulator.kube.status import ApiFailure, bad_request, not_found
from simulator.kubelet.command import Command
from simulator.kubelet.container import Container
from simulator.kubelet.kubelet import Kubelet
from simulator.kubelet.log_files import Line, LogCollector, LogReader
from simulator.kubelet.start_problems import command_problem
from simulator.kubelet.states import ContainerRecord, Waiting
from simulator.processes.spawn import CannotStartError

CHUNK_BYTES: Final = 1 << 16
_WAITING: Final = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}
"""What is said of a container that waits for these reasons; of others the reason itself."""


class KubeletAgent:
    """Answers for one kubelet (a `NodeAgent`)."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet

    @contextlib.asynccontextmanager
    async def log(
        self, namespace: str, pod: str, container: str, options: LogOptions
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a container's log and yield it in chunks of whole lines; see `NodeAgent.log`.

        Raises:
            ApiFailure: no such pod or container is here, or nothing was written yet or kept.
        """
        found = self._container(namespace, pod, container)
        output = found.output if options.follow and not options.previous else None
        try:
            reader = LogReader(log_file(found.record, found.log, pod, previous=options.previous))
        except FileNotFoundError:
            raise bad_request(_not_available(container, pod, previous=options.previous)) from None
        with reader:
            reader.skip(options.tail_lines, options.since_ns)
            async with contextlib.aclosing(chunks_of(reader, output, options)) as chunks:
                yield chunks

    async def execute(
        self, namespace: str, pod: str, container: str, options: ExecOptions, client: ExecClient
    ) -> int | None:
        """Run a command in a container; see `NodeAgent.execute`. It ends with the container, at the latest.

        Raises:
            ApiFailure: the container does not run, or the command cannot be started.
        """
        found = self._container(namespace, pod, container)
        process, execution = found.process, found.execution
        if process is None or execution is None:
            raise internal_error(f'unable to upgrade connection: container not found ("{container}")')
        try:
            return await Command(execution, options, client).run(process)
        except CannotStartError as error:
            problem = command_problem(options.command[0], execution.environment, str(error))
            raise internal_error(problem) from error

    def _container(self, namespace: str, pod: str, name: str) -> Container:
        containers = self._kubelet.containers_of(namespace, pod)
        if not containers:
            raise not_found(POD, pod)
        found = next((container for container in containers if container.name == name), None)
        if found is None:
            raise bad_request(_not_available(name, pod, previous=False))
        return found


def log_file(record: ContainerRecord, present: Path, pod: str, *, previous: bool) -> Path:
    """Return the file with the log of a container's latest run (`present`), or of the one before.

    While a container waits for its next run, the latest is also the previous one.

    Raises:
        ApiFailure: it never ran, or (`previous`) only once.
    """
    if previous and record.last is None:
        raise bad_request(_not_available(record.name, pod, previous=True))
    match record.state:
        case Waiting(reason) if record.last is None:
            problem = f"is waiting to start: {_WAITING.get(reason, reason)}"
            raise bad_request(f'container "{record.name}" in pod "{pod}" {problem}')
        case Waiting():
            return present
    return present.with_suffix(".previous.log") if previous else present


def internal_error(problem: str) -> ApiFailure:
    """The kubelet or what is behind it has failed (500)."""
    details = {"causes": [{"message": problem}]}
    return ApiFailure(500, f"Internal error occurred: {problem}", "InternalError", details)


def _not_available(container: str, pod: str, *, previous: bool) -> str:
    if previous:
        return f'previous terminated container "{container}" in pod "{pod}" not found'
    return f'container "{container}" in pod "{pod}" is not available'


async def chunks_of(reader: LogReader, output: LogCollector | None, options: LogOptions) -> AsyncGenerator[bytes, None]:
    """The log from where the reader is, at most `limit_bytes` of it; followed until the `output` has ended."""
    left = options.limit_bytes
    async for lines in _batches(reader, output):
        data = b"".join(line.stamped() if options.timestamps else line.text for line in lines)
        if left is not None:
            data = data[:left]
            left -= len(data)
        yield data
        if left == 0:
            return


async def _batches(reader: LogReader, output: LogCollector | None) -> AsyncIterator[list[Line]]:
    if output is not None:
        with output.followed() as changed:
            while not output.ended:
                changed.clear()
                for lines in _batched(reader.lines(whole_only=True)):
                    yield lines
                if not output.ended:
                    await changed.wait()
    for lines in _batched(reader.lines(whole_only=False)):
        yield lines


def _batched(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """The lines in lists of some size, so that neither each is sent on its own nor all are held at once."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line.text)
        if size >= CHUNK_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
