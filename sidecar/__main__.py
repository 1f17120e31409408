"""`python -m sidecar`: reads the environment, answers `/healthz`, then runs the worker until SIGTERM or SIGINT.

Exit codes: 0 stopped and drained, 1 wrong settings or a taken health port, 128 + signal number when told twice.
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
    except ConfigError as error:
        sys.stderr.writelines(f"sidecar: {problem}\n" for problem in error.problems)
        return 1
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_serve(config))
    except HealthServerError as error:
        sys.stderr.write(f"sidecar: {error}\n")
        return 1


async def _serve(config: Config) -> int:
    worker: Worker | None = None

    def readiness() -> Readiness:
        return Readiness() if worker is None else worker.readiness()

    signals = _Signals()
    async with serving_health(config.health_host, config.health_port, readiness):
        worker = await asyncio.to_thread(_make_worker, config)
        return await signals.run(worker.run)


def _make_worker(config: Config) -> "Worker":
    """Import what is dear to import, while the health endpoints already answer."""
    from sidecar.logs import log_json_to_stderr
    from sidecar.worker import Worker

    log_json_to_stderr(worker=config.worker_name, pool=config.request_id)
    return Worker(config)


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
