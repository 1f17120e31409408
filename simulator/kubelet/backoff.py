"""How long a kubelet waits before it starts a container, or looks for its image, once more. Times are in seconds."""

FIRST_DELAY_S = 10.0
LONGEST_DELAY_S = 300.0
RESET_AFTER_S = 600.0
"""A container that ran this long before it ended starts with a clean slate."""


def restart_delay_s(previous_s: float | None, ran_s: float) -> float:
    """Delay before the next start of a container that ran for `ran_s`.

    `previous_s` is what this function returned the last time, None before the first restart, which comes at once.
    """
    if previous_s is None or ran_s >= RESET_AFTER_S:
        return 0.0
    return pull_delay_s(previous_s)


def probe_restart_delay_s(previous_s: float | None, ran_s: float, *, ended_before: bool) -> tuple[float | None, float]:
    """Back-off and waiting time after a probe ended a container, which is looked at while that container still runs.

    So what counts is how long ago the run before it ended (`ended_before`: there was one); the first is forgiven
    altogether. Returns the new `previous_s` and the seconds to wait.
    """
    if not ended_before:
        return previous_s, 0.0
    delay_s = restart_delay_s(previous_s, ran_s)
    return delay_s, delay_s if ran_s < delay_s else 0.0


def pull_delay_s(previous_s: float) -> float:
    """Delay after another failure: 10 s at first (`previous_s` 0), then doubling up to 5 minutes."""
    return min(previous_s * 2, LONGEST_DELAY_S) if previous_s else FIRST_DELAY_S


def format_delay(delay_s: float) -> str:
    """Whole seconds in the form that kubelets print: `40s`, `1m20s`, `5m0s`."""
    minutes, seconds = divmod(round(delay_s), 60)
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
