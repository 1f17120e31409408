"""What a handler may learn about its own call beside the request: its trace, and whether it is still wanted.

    from framework import call

    def handle(request):
        if call.current().cancelled.is_set(): ...

The trace comes in the W3C headers `traceparent` and `tracestate` of the sidecar's request, outside of the envelope.
"""

import re
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

import msgspec

_TRACEPARENT: Final = r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
_SAMPLED: Final = 0x01


class TraceContext(msgspec.Struct, frozen=True):
    """A position in a distributed trace, as W3C Trace Context has it; ids are lower-case hexadecimal."""

    trace_id: str
    parent_id: str
    sampled: bool
    state: str = ""

    @classmethod
    def parse(cls, traceparent: str, tracestate: str = "") -> "TraceContext | None":
        """Read the two headers; None when there is no valid `traceparent`, as the recommendation asks."""
        found = re.fullmatch(_TRACEPARENT, traceparent.strip())
        if found is None:
            return None
        version, trace_id, parent_id, flags, rest = found.groups()
        if version == "00" and rest:
            return None
        return cls(trace_id, parent_id, bool(int(flags, 16) & _SAMPLED), tracestate)


class Call(msgspec.Struct, frozen=True):
    """The running call: the headers it came with, and whether its answer is still wanted.

    `cancelled` is set when nobody waits for the answer any more: a plain handler can look at it, or wait for it.
    """

    headers: Mapping[str, str]
    cancelled: threading.Event = msgspec.field(default_factory=threading.Event)

    @property
    def trace(self) -> TraceContext | None:
        """Where in a trace this call happens; None when the sidecar sent no trace."""
        return TraceContext.parse(self.headers.get("traceparent", ""), self.headers.get("tracestate", ""))


_current: ContextVar[Call] = ContextVar("framework_call")


def current() -> Call:
    """Return the call that this handler runs for, in an async handler as in a plain one.

    Raises:
        LookupError: no handler runs here; a thread that a handler starts itself needs its context (`copy_context`).
    """
    try:
        return _current.get()
    except LookupError:
        raise LookupError("no call runs here: ask in the handler, and hand the answer on") from None


def begin(headers: Mapping[str, str]) -> Call:
    """Make a new call the current one, for the rest of this task."""
    call = Call(headers)
    _current.set(call)
    return call
