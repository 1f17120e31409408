"""Callers of one pool, for locust: `locust -f scenarios/load/locustfile.py --host http://127.0.0.1:8080`.

`SyncCaller` invokes and gets the result in the answer. `AsyncCaller` submits, then asks for the result until there is
one; the request called `async result` measures from submitting to having it. Each caller makes one call at a time,
without pause. Name a class on the command line to have only its callers.

Nothing else imports this module: locust replaces the standard library's sockets when it is imported.
"""

import json
import resource
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.event import EventHook

INVOCATIONS: Final = "/api/v1/serverless/invocations"
TERMINAL: Final = frozenset({"succeeded", "failed", "expired"})
WAIT: Final = "10s"
"""For how long the API may hold one question for a result."""
RESULT_TIMEOUT_S: Final = 60.0
"""After this an async call counts as failed."""
MARGIN_S: Final = 15.0
"""How much longer than the longest answer a connection may be silent."""


class Unsuccessful(Exception):  # noqa: N818 - shown as it is in locust's table of failures
    """An invocation that ended in another state than `succeeded`, or not at all."""


def add_options(parser: LocustArgumentParser) -> None:
    """What can be chosen beside locust's own options, which are changed to listen on this machine only."""
    parser.set_defaults(web_host="127.0.0.1")
    parser.add_argument("--pool", default="sd-webui", help="The pool that is invoked.")
    parser.add_argument("--payload-bytes", type=int, default=256, help="Size of the text in the payload.")
    parser.add_argument("--call-timeout", type=int, default=30, help="Budget of a call at its worker, in seconds.")
    parser.add_argument(
        "--samples", default="", include_in_web_ui=False, help="A file for every single request's time, as JSON."
    )


class Caller(FastHttpUser):
    """What both kinds share: the request."""

    abstract = True
    network_timeout = RESULT_TIMEOUT_S + MARGIN_S

    def body(self, mode: str) -> Mapping[str, Any]:
        """The body of one invocation."""
        options = self.environment.parsed_options
        return {
            "serverlessRequestID": options.pool,
            "mode": mode,
            "payload": {"prompt": "x" * options.payload_bytes},
            "timeoutSeconds": options.call_timeout,
        }


class SyncCaller(Caller):
    """Waits for the result in the answer to its call."""

    @task
    def call(self) -> None:
        """Invoke; an answer without a succeeded result is a failure."""
        with self.client.post(INVOCATIONS, json=self.body("sync"), name="sync", catch_response=True) as answer:
            if answer.status_code == 200 and (state := answer.json()["data"].get("state")) != "succeeded":
                answer.failure(Unsuccessful(f"the invocation {state}"))


class AsyncCaller(Caller):
    """Submits, and then asks until the result is there."""

    @task
    def call(self) -> None:
        """Submit and wait; `async result` is a failure when the invocation was accepted and did not succeed."""
        started = time.perf_counter()
        with self.client.post(INVOCATIONS, json=self.body("async"), name="async submit", catch_response=True) as answer:
            if answer.status_code != 202:
                answer.failure(Unsuccessful(f"answered with {answer.status_code}"))
                return
            invocation_id = answer.json()["data"]["invocationID"]
        state = self._final_state(invocation_id, started + RESULT_TIMEOUT_S)
        problem = None if state == "succeeded" else Unsuccessful(f"the invocation {state or 'has no result'}")
        self.environment.events.request.fire(
            request_type="INVOKE",
            name="async result",
            response_time=(time.perf_counter() - started) * 1000,
            response_length=0,
            exception=problem,
            context={},
        )

    def _final_state(self, invocation_id: str, deadline: float) -> str:
        """The state in which an invocation ended; empty when it did not by the deadline, or nobody knows."""
        while time.perf_counter() < deadline:
            answer = self.client.get(f"{INVOCATIONS}/{invocation_id}?wait={WAIT}", name="async wait")
            if answer.status_code != 200:
                return ""
            state: str = answer.json()["data"]["state"]
            if state in TERMINAL:
                return state
        return ""


class Samples:
    """Every request of a run: its name, its start (Unix time), milliseconds, and whether it succeeded."""

    def __init__(self) -> None:
        self._taken: list[tuple[str, float, float, bool]] = []
        self._idle_cpu_s = cpu_s()

    def take(self, name: str, response_time: float, exception: BaseException | None = None, **_others: Any) -> None:
        """Remember one request, as locust tells of it."""
        self._taken.append((name, time.time() - response_time / 1000, response_time, exception is None))

    def write(self, file: Path) -> None:
        """Write all of them, and the CPU seconds that this process has used for them."""
        found = {"samples": self._taken, "cpu_seconds": cpu_s() - self._idle_cpu_s}
        file.write_text(json.dumps(found), encoding="utf-8")


def cpu_s() -> float:
    """CPU seconds that this process has used so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def keep_samples(environment: Environment, **_others: Any) -> None:
    """Keep every request's time when a file is wanted: locust's own percentiles are in whole milliseconds."""
    options: Namespace | None = environment.parsed_options
    if options is None or not options.samples:
        return
    samples = Samples()
    when(environment.events.request, samples.take)
    when(environment.events.quitting, lambda **_others: samples.write(Path(options.samples)))


def when(event: EventHook, listener: Callable[..., None]) -> None:
    """Have an event of locust's heard."""
    event.add_listener(listener)  # type: ignore[no-untyped-call]  # locust says nothing of its types


when(events.init_command_line_parser, add_options)
when(events.init, keep_samples)
