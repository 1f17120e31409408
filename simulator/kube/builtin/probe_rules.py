"""The rules for probes and for the hooks at a container's start and end."""

from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import each, invalid, negative, unsupported
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_NUMBERS: Final = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_SCHEMES: Final = ("HTTP", "HTTPS")


def probe_causes(container: Object, field: str) -> list[Cause]:
    """What is wrong with the probes of a container that may have some."""
    causes = []
    for name in PROBES:
        if name in container:
            causes += _probe_causes(name, container[name], f"{field}.{name}")
    return causes


def lifecycle_causes(lifecycle: Object, grace_s: int | None, field: str) -> list[Cause]:
    """What is wrong with the hooks of a container of a pod that has `grace_s` seconds to end."""
    causes = []
    for hook in ("postStart", "preStop"):
        if hook in lifecycle:
            causes += _handler_causes(
                lifecycle[hook], ("exec", "httpGet", "tcpSocket", "sleep"), f"{field}.{hook}", grace_s
            )
    return causes


def port_causes(port: int | str, field: str) -> list[Cause]:
    """What is wrong with a port that is given by its number or its name."""
    return each(field, port, formats.port_number(port) if isinstance(port, int) else formats.port_name(port))


def _probe_causes(name: str, probe: Object, field: str) -> list[Cause]:
    causes = _handler_causes(probe, ("exec", "httpGet", "tcpSocket", "grpc"), field)
    for number in _NUMBERS:
        causes += negative(f"{field}.{number}", probe.get(number))
    grace = probe.get("terminationGracePeriodSeconds")
    grace_field = f"{field}.terminationGracePeriodSeconds"
    if grace is not None and grace <= 0:
        causes.append(invalid(grace_field, grace, "must be greater than 0"))
    if name == "readinessProbe":
        if grace is not None:
            causes.append(invalid(grace_field, grace, "must not be set for readinessProbes"))
    elif probe["successThreshold"] != 1:
        causes.append(invalid(f"{field}.successThreshold", probe["successThreshold"], "must be 1"))
    return causes


def _handler_causes(handler: Object, types: tuple[str, ...], field: str, grace_s: int | None = None) -> list[Cause]:
    first, *others = [name for name in types if name in handler] or [""]
    if not first:
        return [required(field, "must specify a handler type")]
    causes = _action_causes(first, handler[first], f"{field}.{first}", grace_s)
    return [
        *causes,
        *(forbidden_value(f"{field}.{name}", "may not specify more than 1 handler type") for name in others),
    ]


def _action_causes(name: str, action: Object, field: str, grace_s: int | None) -> list[Cause]:
    match name:
        case "exec":
            return [] if action.get("command") else [required(f"{field}.command", "")]
        case "httpGet":
            return _http_causes(action, field)
        case "sleep":
            if grace_s is None or 0 <= action["seconds"] <= grace_s:
                return []
            problem = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_s})"
            return [invalid(field, action["seconds"], problem)]
        case _:
            return port_causes(action["port"], f"{field}.port")


def _http_causes(action: Object, field: str) -> list[Cause]:
    causes = port_causes(action["port"], f"{field}.port")
    if action["scheme"] not in _SCHEMES:
        causes.append(unsupported(f"{field}.scheme", action["scheme"], _SCHEMES))
    for header in action.get("httpHeaders") or ():
        causes += each(f"{field}.httpHeaders", header["name"], formats.header_name(header["name"]))
    return causes
