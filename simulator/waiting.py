"""Waiting for a unit to become Ready, or to be so no longer; when it does not, the answer says what it is."""

from typing import Final

from simulator.errors import PlatformError, WaitTimeoutError
from simulator.gpuunit import ACTIVE_NAMESPACE, is_ready, phase_of
from simulator.kube.informer import Informer
from simulator.kube.kinds import Object

READY_TIMEOUT_S: Final = 60.0


async def wait_until_ready(units: Informer, name: str, timeout_s: float = READY_TIMEOUT_S) -> Object:
    """Return the unit once its status says Ready.

    Raises:
        PlatformError: the status says Failed; the message holds the condition's reason and text.
        WaitTimeoutError: neither happened in time; the message holds the last condition.
    """

    def settled(informer: Informer) -> Object | None:
        unit = informer.get(ACTIVE_NAMESPACE, name)
        return unit if unit and (is_ready(unit) or phase_of(unit) == "Failed") else None

    try:
        unit = await units.wait_for(settled, timeout_s)
    except TimeoutError as error:
        last = units.get(ACTIVE_NAMESPACE, name)
        state = f"{phase_of(last) or 'no status yet'}; {explain(last)}" if last else "it does not exist"
        raise WaitTimeoutError(f"unit {name} is not Ready after {timeout_s:g} s: {state}") from error
    if phase_of(unit) == "Failed":
        raise PlatformError(f"unit {name} cannot run: {explain(unit)}")
    return unit


async def wait_until_unready(units: Informer, name: str, timeout_s: float = READY_TIMEOUT_S) -> Object:
    """Return the unit once its status says that it is not Ready. Raises WaitTimeoutError."""

    def unready(informer: Informer) -> Object | None:
        unit = informer.get(ACTIVE_NAMESPACE, name)
        return unit if unit and not is_ready(unit) else None

    try:
        return await units.wait_for(unready, timeout_s)
    except TimeoutError as error:
        raise WaitTimeoutError(f"unit {name} is still Ready after {timeout_s:g} s") from error


def explain(unit: Object) -> str:
    """The `Ready` condition in one line: reason and message."""
    for condition in (unit.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Ready":
            return f"{condition.get('reason')}: {condition.get('message')}"
    return "no Ready condition yet"
