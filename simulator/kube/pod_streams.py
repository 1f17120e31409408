"""What the API server asks of a pod's node: logs, commands in containers, their standard streams, and their ports.

The nodes are told to it by whoever runs them.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from simulator.kube.kinds import Object
from simulator.kube.status import ApiFailure, bad_request


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What of a log is wanted. `tail_lines` and `limit_bytes` None: all. `since_ns`: nanoseconds of the epoch."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """Which standard streams of a program are wanted; a terminal has no standard error."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True)
class ExecOptions(StreamOptions):
    """A command to run in a container."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """How large the client's window is."""

    columns: int
    rows: int


class ExecClient(Protocol):
    """Who has asked for a command, or for a program's streams, and holds the other end of them."""

    def received(self) -> AsyncGenerator[bytes | TerminalSize, None]:
        """What it sends: standard input, where b"" is its end, and sizes of its window. Ends when the client goes."""
        ...

    async def send(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Give it output. Raises ConnectionError when it is gone."""
        ...


class PortForwardError(Exception):
    """A connection to a pod's port is not made, or has failed; the message is for the client."""


class PortStream(Protocol):
    """A client's end of a connection to a port."""

    async def read(self) -> bytes:
        """What it sends next; empty when it sends no more."""
        ...

    async def lost(self) -> None:
        """Return when it wants nothing more of the connection."""
        ...

    async def write(self, data: bytes) -> None:
        """Give it what the pod sends. Raises ConnectionError when it is gone."""
        ...

    async def end(self) -> None:
        """Tell it that the pod sends no more. Raises ConnectionError."""
        ...


class PodPorts(Protocol):
    """The ports of one pod that runs."""

    async def forward(self, port: int, client: PortStream) -> None:
        """Connect a client with a port, until the connection has ended.

        Raises:
            PortForwardError: nobody of the pod listens there, or the connection broke.
            ConnectionError: the client is gone.
        """
        ...


class NodeAgent(Protocol):
    """The kubelet of a node."""

    def log(
        self, namespace: str, pod: str, container: str, options: LogOptions
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a container's log; what is followed goes on until the container ends.

        Raises:
            ApiFailure: there is no such container, or it has no such log.
        """
        ...

    async def execute(
        self, namespace: str, pod: str, container: str, options: ExecOptions, client: ExecClient
    ) -> int | None:
        """Run a command in a container and return its exit code (128 + n after signal n), None if the client went.

        Raises:
            ApiFailure: the container does not run, or the command cannot be started.
        """
        ...

    async def attach(
        self, namespace: str, pod: str, container: str, options: StreamOptions, client: ExecClient
    ) -> bool:
        """Give a client the standard streams of a container; True: its program has ended, False: the client went.

        Raises:
            ApiFailure: the container does not run.
            ConnectionError: the client is gone.
        """
        ...

    def ports(self, namespace: str, pod: str) -> PodPorts | None:
        """The ports of a pod; None if it does not run."""
        ...


@dataclass(slots=True)
class NodeAgents:
    """The agents by the names of their nodes."""

    by_node: dict[str, NodeAgent] = field(default_factory=dict)

    def of(self, node: str) -> NodeAgent:
        """The agent of a node.

        Raises:
            ApiFailure: 500, as for a kubelet that cannot be reached.
        """
        agent = self.by_node.get(node)
        if agent is None:
            raise ApiFailure(500, f'error dialing backend: no kubelet of node "{node}" is connected to this API')
        return agent


def chosen_container(pod: Object, asked: str) -> str:
    """The name of the container that a request is about; "" asks for the only one.

    Raises:
        ApiFailure: 400 there is no such container, or it was not said which.
    """
    name = pod["metadata"]["name"]
    main, init = (_names(pod["spec"].get(group) or ()) for group in ("containers", "initContainers"))
    if asked:
        if asked not in (*main, *init):
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(main) == 1:
        return main[0]
    problem = f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
    if init:
        problem += f" or one of the init containers: [{' '.join(init)}]"
    raise bad_request(problem)


def _names(containers: Sequence[Object]) -> list[str]:
    return [container["name"] for container in containers]
