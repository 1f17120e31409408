"""Status conditions and their times (contract 5.3): what stays when a status is written anew (C3)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from simulator.kube.kinds import Object
from simulator.kube.timestamps import format_time

READY = "Ready"
SERVERLESS_READY = "ServerlessReady"

_MAX_MESSAGE = 32768
"""Characters that the resource's schema allows in a condition's message."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition as it should be; when it became so follows from what was there before."""

    type: str
    is_true: bool
    reason: str
    message: str


def stamped(
    conditions: Iterable[Condition], before: Iterable[Mapping[str, Any]], generation: int, now: datetime
) -> list[Object]:
    """Return the conditions as JSON; a transition time moves to `now` only where the status flips."""
    earlier = {condition["type"]: condition for condition in before}
    return [_stamp(condition, earlier.get(condition.type), generation, now) for condition in conditions]


def _stamp(condition: Condition, before: Mapping[str, Any] | None, generation: int, now: datetime) -> Object:
    status = "True" if condition.is_true else "False"
    same = before is not None and before["status"] == status
    return {
        "type": condition.type,
        "status": status,
        "reason": condition.reason,
        "message": condition.message[:_MAX_MESSAGE],
        "lastTransitionTime": before["lastTransitionTime"] if before is not None and same else format_time(now),
        "observedGeneration": generation,
    }
