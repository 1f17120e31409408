"""`python -m sidecar`: reads the environment, serves its health, then runs the worker until SIGTERM or SIGINT.

Exit codes: 0 stopped and drained, 1 wrong settings, unusable files or a taken health port, 128 + signal number when
told twice.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

# Two packages import others just because these are installed: nats-py aiohttp, for websockets, and structlog rich, for
# coloured tracebacks. Neither is used here, and together they cost 0.4 s of every worker's start.
sys.modules.setdefault("aiohttp", None)  # type: ignore[arg-type]
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]

from sidecar.config import Config, ConfigError  # noqa: E402
from sidecar.event_loop import loop_factory  # noqa: E402
from sidecar.health import HealthServerError, Readiness, serving_health  # noqa: E402

if TYPE_CHECKING:
    from sidecar.worker import Worker


def main() -> int:
    """Run the sidecar and return its exit code."""
    try:
        config = Config.from_env(os.environ)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_serve(config))
    except ConfigError as error:
        problems = error.problems
    except HealthServerError as error:
        problems = [str(error)]
    sys.stderr.writelines(f"sidecar: {problem}\n" for problem in problems)
    return 1


async def _serve(config: Config) -> int:
    signals, source = _Signals(), _Source()
    async with serving_health(config.health_host, config.health_port, source):
        source.worker = worker = await asyncio.to_thread(_make_worker, config)
        return await signals.run(worker.run)


def _make_worker(config: Config) -> "Worker":
    """Import what is dear to import, while the health endpoints already answer."""
    from sidecar.access import AccessError
    from sidecar.logs import log_json_to_stderr
    from sidecar.worker import Worker

    log_json_to_stderr(worker=config.worker_name, pool=config.request_id)
    try:
        return Worker(config)
    except AccessError as error:
        raise ConfigError([str(error)]) from error


class _Source:
    """What the health endpoints ask: the worker, or nobody yet."""

    def __init__(self) -> None:
        self.worker: Worker | None = None

    def alive(self) -> bool:
        """Whether the worker makes progress; before there is one, answering is progress enough."""
        return self.worker is None or self.worker.alive

    def readiness(self) -> Readiness:
        """What is ready now."""
        return Readiness() if self.worker is None else self.worker.readiness()

    async def drained(self) -> bool:
        """Wait until the worker has nothing under way."""
        return self.worker is None or await self.worker.drained()

    def metrics(self) -> tuple[str, bytes]:
        """The worker's exposition; an empty one before there is a worker."""
        return ("text/plain; charset=utf-8", b"") if self.worker is None else self.worker.metrics()


class _Signals:
    """The first SIGTERM or SIGINT asks for a drain, the second ends everything at once."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._second: int | None = None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: int) -> None:
        if not self._stop.is_set():
            self._stop.set()
        elif self._task is not None:
            self._second = number
            self._task.cancel()

    async def run(self, work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> int:
        """Run `work` and return the exit code."""
        self._task = asyncio.create_task(work(self._stop))
        try:
            await self._task
        except asyncio.CancelledError:
            if self._second is None:
                raise
            return 128 + self._second
        return 0


if __name__ == "__main__":
    sys.exit(main())
