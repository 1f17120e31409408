"""The Deployment that runs a unit's one pod (contract 6.1 to 6.3)."""

from simulator.gpuunit import UNIT_LABEL, UnitSpecError, deployment_name
from simulator.kube.kinds import DEPLOYMENT, Object
from simulator.reconciler.objects import child_of
from simulator.reconciler.pod_template import pod_template_for
from simulator.reconciler.settings import ReconcilerSettings
from simulator.reconciler.spec import UnitSpec, read_unit


def deployment_for(unit: Object, settings: ReconcilerSettings) -> Object:
    """Return the Deployment that the unit wants; it is called like the unit (M3).

    The strategy is `Recreate`: two pods of one unit would share a worker name and a durable consumer (C10). A unit that
    is a template only has no replica; its spec is checked all the same, as that of its workers to come.

    Raises:
        UnitSpecError: the spec is wrong, or cannot be run with these settings (C4, C5, C11, C12).
    """
    spec = read_unit(unit)
    if spec.serverless:
        _check_serverless(spec, settings)
    return child_of(
        unit,
        DEPLOYMENT,
        deployment_name(spec.name),
        {
            "replicas": 0 if spec.is_template else 1,
            "selector": {"matchLabels": {UNIT_LABEL: spec.name}},
            "strategy": {"type": "Recreate"},
            "template": pod_template_for(spec, settings),
        },
    )


def without_rolling_update(live: Object) -> Object | None:
    """Return the merge patch that takes back a rolling update which somebody asked for; None when nobody did (C10).

    What belongs to a rolling update alone is theirs, so an apply would leave it, and be refused for it.
    """
    if not live["spec"].get("strategy", {}).get("rollingUpdate"):
        return None
    return {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}


def _check_serverless(spec: UnitSpec, settings: ReconcilerSettings) -> None:
    if not settings.nats_url:
        raise UnitSpecError(
            "spec",
            "the unit is serverless, but the reconciler was started without a queue URL; start it with one, or remove "
            "the serverless block",
        )
    for port in spec.ports:
        if port.number == settings.health_port:
            raise UnitSpecError(
                "template.ports",
                f"port {port.number} ({port.name}) is the sidecar's health port; choose another",
            )
