"""What comes of a delivered dispatch, before it is published (contract 7.3)."""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias

import msgspec

from sidecar.dead_letters import Recognised
from sidecar.messages import WorkerDispatchMessage, WorkerMetricMessage
from sidecar.results import StoredResult


class Answered(msgspec.Struct, frozen=True):
    """The invocation has its result; `event` is None when it had it before."""

    stored: StoredResult
    event: WorkerMetricMessage | None
    trace: Mapping[str, str]


class Unanswered(msgspec.Struct, frozen=True):
    """The framework was lost in the middle of the call: a failure, unless the sidecar is about to end too (S14)."""

    dispatch: WorkerDispatchMessage
    error: str
    started_at: datetime
    ended_at: datetime
    trace: Mapping[str, str]


class Rejected(msgspec.Struct, frozen=True):
    """The message can never be handled."""

    known: Recognised
    failure_class: str
    error: str


class Dropped(msgspec.Struct, frozen=True):
    """The dispatch is another worker's now, or has its result: nothing is to be said."""


Conclusion: TypeAlias = Answered | Unanswered | Rejected | Dropped
