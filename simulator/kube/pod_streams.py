"""What the API server asks of a pod's node: logs, and commands in containers. The nodes are told to it by whoever runs
them.
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


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """A command to run in a container, and which of its streams are wanted; a terminal has no standard error."""

    command: tuple[str, ...]
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """How large the client's window is."""

    columns: int
    rows: int


class ExecClient(Protocol):
    """Who has asked for a command and holds the other end of its streams."""

    def received(self) -> AsyncGenerator[bytes | TerminalSize, None]:
        """What it sends: standard input, where b"" is its end, and sizes of its window. Ends when the client goes."""
        ...

    async def send(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Give it output. Raises ConnectionError when it is gone."""
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
