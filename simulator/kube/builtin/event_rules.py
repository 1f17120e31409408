"""The rules for Events."""

from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import each, invalid
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, required

_MAX_TEXT: Final = 128
_MAX_MESSAGE: Final = 1024
_NO_MATCH: Final = "does not match event.namespace"


def event_causes(new: Object, _old: Object | None) -> list[Cause]:
    """What is wrong with an Event; the rules are stricter for one that has an `eventTime`."""
    namespace, about = new["metadata"].get("namespace", ""), new["involvedObject"].get("namespace") or ""
    if new.get("eventTime") is None:
        fits = namespace == about if about else namespace in ("", "default")
        return [] if fits else [invalid("involvedObject.namespace", about, _NO_MATCH)]
    causes = []
    if not about and namespace not in ("default", "kube-system"):
        causes.append(invalid("involvedObject.namespace", about, _NO_MATCH))
    reporter = new.get("reportingComponent") or ""
    if not reporter:
        causes.append(required("reportingComponent", ""))
    causes += each("reportingComponent", reporter, formats.qualified_name(reporter))
    for name in ("reportingInstance", "action", "reason"):
        text = new.get(name) or ""
        if not text:
            causes.append(required(name, ""))
        causes += _length_causes(name, text, _MAX_TEXT)
    return [*causes, *_length_causes("message", new.get("message") or "", _MAX_MESSAGE)]


def _length_causes(field: str, text: str, limit: int) -> list[Cause]:
    return [invalid(field, "", f"can have at most {limit} characters")] if len(text.encode()) > limit else []
