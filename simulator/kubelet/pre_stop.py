"""What a container's preStop hook is, and how much of a grace period is left after it or after another container."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from simulator.kube.kinds import Object
from simulator.kubelet.env_sources import ConfigError
from simulator.kubelet.probe_rules import Exec, HttpGet, http_get

MINIMUM_GRACE_S: Final = 2.0
"""What a container gets after SIGTERM at least, though others used up the grace period, or it was shorter."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Does nothing for so many seconds."""

    seconds: float


Hook = HttpGet | Exec | Sleep


def pre_stop_hook(container: Object, ports: Mapping[int, int]) -> Hook | None:
    """Return the container's preStop hook, None if it has none; `ports` translates its port.

    Raises:
        ConfigError: the hook is of a kind that is not supported, or names a port that the container does not have.
    """
    hook = (container.get("lifecycle") or {}).get("preStop")
    if not hook:
        return None
    if http := hook.get("httpGet"):
        # Whatever the server answers, it has been told.
        return replace(http_get(container, http, ports), any_status=True)
    if command := (hook.get("exec") or {}).get("command"):
        return Exec(tuple(command))
    if sleep := hook.get("sleep"):
        return Sleep(sleep["seconds"])
    raise ConfigError(
        f"container {container['name']}: a preStop hook must be an httpGet, exec or sleep one for the local kubelet"
    )


def remaining_grace_s(grace_s: float, elapsed_s: float) -> float:
    """What is left of a grace period for SIGTERM to take effect, in seconds; never less than MINIMUM_GRACE_S."""
    return max(grace_s - elapsed_s, MINIMUM_GRACE_S)
