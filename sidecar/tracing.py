"""W3C trace context on its way through the sidecar: taken from a dispatch, handed to the framework (S30). Pure."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
MAX_TRACESTATE_CHARACTERS: Final = 512

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(rf"[\x20-\x7e]{{1,{MAX_TRACESTATE_CHARACTERS}}}")


def trace_headers(message_headers: Mapping[str, str], nats_headers: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return the `traceparent`, and `tracestate` if any, that the framework's request carries.

    The NATS message's headers are asked first, then the invocation's own `headers`; names in any case. What breaks
    the W3C rules is dropped, and a `tracestate` with it when its `traceparent` is missing or invalid.
    """
    for headers in (nats_headers, message_headers):
        if headers:
            found = _trace_context(headers)
            if found:
                return found
    return NO_HEADERS


def _trace_context(headers: Mapping[str, str]) -> Mapping[str, str]:
    parent = state = ""
    for name, value in headers.items():
        if len(name) == 11 and name.lower() == "traceparent":
            parent = value.strip()
        elif len(name) == 10 and name.lower() == "tracestate":
            state = value.strip()
    if not _TRACEPARENT.fullmatch(parent):
        return NO_HEADERS
    if not _TRACESTATE.fullmatch(state):
        return {"traceparent": parent}
    return {"traceparent": parent, "tracestate": state}
