"""The Service through which a unit's ports are reached (contract 6.1)."""

from simulator.gpuunit import UNIT_LABEL, service_name
from simulator.kube.kinds import SERVICE, Object
from simulator.reconciler.objects import child_of
from simulator.reconciler.spec import read_unit


def service_for(unit: Object) -> Object | None:
    """Return the Service that the unit wants, None for one without ports, in stock, or that is a template only.

    Raises:
        UnitSpecError: the spec is wrong.
    """
    spec = read_unit(unit)
    if not spec.has_service:
        return None
    ports = [
        {"name": port.name, "port": port.number, "targetPort": port.number, "protocol": port.protocol}
        for port in spec.ports
    ]
    return child_of(
        unit,
        SERVICE,
        service_name(spec.name),
        {"type": "ClusterIP", "selector": {UNIT_LABEL: spec.name}, "ports": ports},
    )
