"""A kubelet as the API server sees it: the logs and streams of containers, commands in them, and the ports of pods.

Texts and refusals are those that kubectl gets from a cluster.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Final

from simulator.kube.kinds import POD
from simulator.kube.pod_streams import ExecClient, ExecOptions, LogOptions, StreamOptions
from simulator.kube.status import ApiFailure, bad_request, not_found
from simulator.kubelet.command import Command
from simulator.kubelet.container import Container
from simulator.kubelet.forwarding import ForwardedPorts
from simulator.kubelet.kubelet import Kubelet
from simulator.kubelet.log_reading import LogReader
from simulator.kubelet.start_problems import command_problem
from simulator.kubelet.states import ContainerRecord, Waiting
from simulator.processes.spawn import CannotStartError

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
            file = log_file(found.record, found.log, pod, previous=options.previous, starting=found.starting)
            reader = LogReader(file, output)
        except FileNotFoundError:
            raise bad_request(_not_available(container, pod, previous=options.previous)) from None
        with reader:
            reader.skip(options.tail_lines, options.since_ns)
            async with contextlib.aclosing(chunks_of(reader, options)) as chunks:
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

    async def attach(
        self, namespace: str, pod: str, container: str, options: StreamOptions, client: ExecClient
    ) -> bool:
        """Give a client the standard streams of a container; see `NodeAgent.attach`.

        Raises:
            ApiFailure: the container does not run.
            ConnectionError: the client is gone.
        """
        console = self._container(namespace, pod, container).console
        if console is None:
            where = f"container {container} not found in pod {pod}_{namespace}"
            raise internal_error(f"unable to upgrade connection: {where}")
        return await console.attach(options, client)

    def ports(self, namespace: str, pod: str) -> ForwardedPorts | None:
        """The ports of a pod, of which a container runs; see `NodeAgent.ports`."""
        containers = self._kubelet.containers_of(namespace, pod)
        if not any(container.process for container in containers):
            return None
        context = containers[0].context
        return ForwardedPorts(
            context.pod["metadata"]["uid"],
            context.ports,
            lambda: {container.process.pid for container in containers if container.process},
        )

    def _container(self, namespace: str, pod: str, name: str) -> Container:
        containers = self._kubelet.containers_of(namespace, pod)
        if not containers:
            raise not_found(POD, pod)
        found = next((container for container in containers if container.name == name), None)
        if found is None:
            raise bad_request(_not_available(name, pod, previous=False))
        return found


def log_file(record: ContainerRecord, present: Path, pod: str, *, previous: bool, starting: bool = False) -> Path:
    """Return the file with the log of a container's latest run (`present`), or of the one before.

    While a container waits for its next run, the latest is also the previous one. If that is `starting`, though nobody
    is told yet, its log is the present one already.

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
            previous = starting
    return present.with_suffix(".previous.log") if previous else present


def internal_error(problem: str) -> ApiFailure:
    """The kubelet or what is behind it has failed (500)."""
    details = {"causes": [{"message": problem}]}
    return ApiFailure(500, f"Internal error occurred: {problem}", "InternalError", details)


def _not_available(container: str, pod: str, *, previous: bool) -> str:
    if previous:
        return f'previous terminated container "{container}" in pod "{pod}" not found'
    return f'container "{container}" in pod "{pod}" is not available'


async def chunks_of(reader: LogReader, options: LogOptions) -> AsyncGenerator[bytes, None]:
    """The log from where the reader is, at most `limit_bytes` of it; followed, if the reader does that, to its end."""
    left = options.limit_bytes
    async with contextlib.aclosing(reader.pieces(stamped=options.timestamps, whole_lines=options.follow)) as pieces:
        async for piece in pieces:
            data = piece if left is None else piece[:left]
            yield data
            if left is not None:
                left -= len(data)
                if left == 0:
                    return
