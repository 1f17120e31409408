"""What a person does about a unit that does not start: the end of its condition's message, and of its Event."""

from typing import Final

from simulator.gpuunit import SIDECAR_CONTAINER, UNIT_LABEL
from simulator.reconciler.observed import Failure, Obstacle
from simulator.reconciler.spec import UnitSpec

_IMAGE_REASONS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
_LOGGED_REASONS: Final = frozenset({"CrashLoopBackOff", "Error", "Completed", "ContainerCannotRun"})


def failure_advice(failure: Failure, spec: UnitSpec) -> str:
    """What to do about a failed container or pod."""
    if failure.reason in _IMAGE_REASONS:
        what = "the reconciler's sidecar image" if failure.container == SIDECAR_CONTAINER else "spec.image"
        return f"check {what}, and that the nodes may pull it"
    if failure.reason == "OOMKilled":
        return "give it more with spec.memory"
    if failure.container and failure.reason in _LOGGED_REASONS:
        return f"see kubectl logs -n {spec.namespace} {failure.pod} -c {failure.container} --previous"
    return f"see kubectl describe pod -n {spec.namespace} {failure.pod}"


def obstacle_advice(obstacle: Obstacle, spec: UnitSpec) -> str:
    """What to do about a pod that is not placed, or not made."""
    if not obstacle.pod:
        return f"see kubectl describe replicaset -n {spec.namespace} -l {UNIT_LABEL}={spec.name}"
    if "persistentvolumeclaim" in obstacle.message.lower():
        return "create the claim, or correct spec.storageMounts"
    return "add a node that has what is missing, or ask for less with spec.gpu and spec.memory"
