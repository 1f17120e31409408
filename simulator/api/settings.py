"""What can be set of the API."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Limits and options of one API process.

    A pool in which `backlog_limit` invocations wait takes no more (503 `backpressure`). `max_requests` is how many
    requests the process has in hand at most, waiting ones included (P12). `require_pool` refuses invocations of pools
    that have no unit (P8); it needs the units.
    """

    backlog_limit: int = 2000
    max_requests: int = 4096
    require_pool: bool = False
