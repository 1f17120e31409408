"""What the API fills in where a pod, or the template of one, leaves something open.

The functions complete an object in canonical form in place: it was made for them.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from simulator.kube.builtin.quantities import parse_quantity
from simulator.kube.kinds import Object

_FILE_MODE: Final = 0o644
_TOKEN_SECONDS: Final = 3600
_GRACE_SECONDS: Final = 30
_PROBE: Final = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_POD_RESOURCES: Final = ("cpu", "memory")
"""What a pod as a whole can ask for, besides huge pages."""
_IMAGE: Final = re.compile(
    r"(?:[a-zA-Z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?P<tag>:[\w][\w.-]{0,127})?(?P<digest>@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)


def complete_pod(pod: Object) -> None:
    """Complete a pod: as in a template, and what depends on the pod as a whole."""
    spec = pod["spec"]
    complete_pod_spec(spec)
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    for container in _containers(spec):
        _request_what_is_limited(container["resources"])
    if spec.get("resources"):
        _complete_pod_resources(spec)
    spec.setdefault("enableServiceLinks", True)
    if spec.get("hostNetwork"):
        for container in _containers(spec):
            for port in container.get("ports") or ():
                if not port.get("hostPort"):
                    port["hostPort"] = port["containerPort"]


def complete_pod_spec(spec: Object) -> None:
    """Complete what a pod and the template of one have in common."""
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", _GRACE_SECONDS)
    spec.setdefault("schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for volume in spec.get("volumes") or ():
        _complete_volume(volume)
    for container in (*_containers(spec), *(spec.get("ephemeralContainers") or ())):
        _complete_container(container)
    _round_amounts(spec.get("overhead"))


def complete_claim_spec(spec: Object) -> None:
    """Complete the specification of a PersistentVolumeClaim."""
    spec.setdefault("volumeMode", "Filesystem")
    _round_resources(spec.get("resources") or {})


def pull_policy(image: str) -> str:
    """When to pull an image of which nothing is said: always if its tag is, or is taken to be, `latest`."""
    match = _IMAGE.fullmatch(image)
    latest = match is not None and (match["tag"] == ":latest" or not (match["tag"] or match["digest"]))
    return "Always" if latest else "IfNotPresent"


def _containers(spec: Object) -> Iterator[Object]:
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def _complete_container(container: Object) -> None:
    container.setdefault("imagePullPolicy", pull_policy(container.get("image", "")))
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or ():
        _complete_field_reference((variable.get("valueFrom") or {}).get("fieldRef"))
    for name in _PROBES:
        if name in container:
            _complete_probe(container[name])
    for handler in (container.get("lifecycle") or {}).values():
        if isinstance(handler, dict):
            _complete_handler(handler)
    _round_resources(container.get("resources") or {})


def _complete_probe(probe: Object) -> None:
    for name, value in _PROBE.items():
        probe.setdefault(name, value)
    _complete_handler(probe)


def _complete_handler(handler: Object) -> None:
    if "httpGet" in handler:
        handler["httpGet"].setdefault("path", "/")
        handler["httpGet"].setdefault("scheme", "HTTP")
    if "grpc" in handler and handler["grpc"].get("service") is None:
        handler["grpc"]["service"] = ""


def _complete_volume(volume: Object) -> None:
    if len(volume) == 1:
        volume["emptyDir"] = {}
    for source in ("secret", "configMap", "downwardAPI", "projected"):
        if source in volume:
            volume[source].setdefault("defaultMode", _FILE_MODE)
    for item in (volume.get("downwardAPI") or {}).get("items") or ():
        _complete_field_reference(item.get("fieldRef"))
    for source in (volume.get("projected") or {}).get("sources") or ():
        _complete_projection(source)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    if "image" in volume:
        volume["image"].setdefault("pullPolicy", pull_policy(volume["image"].get("reference", "")))
    if template := (volume.get("ephemeral") or {}).get("volumeClaimTemplate"):
        complete_claim_spec(template["spec"])


def _complete_projection(source: Object) -> None:
    if "serviceAccountToken" in source:
        source["serviceAccountToken"].setdefault("expirationSeconds", _TOKEN_SECONDS)
    for item in (source.get("downwardAPI") or {}).get("items") or ():
        _complete_field_reference(item.get("fieldRef"))


def _complete_field_reference(reference: Object | None) -> None:
    if reference is not None:
        reference.setdefault("apiVersion", "v1")


def _round_resources(resources: Object) -> None:
    _round_amounts(resources.get("limits"))
    _round_amounts(resources.get("requests"))


def _round_amounts(amounts: dict[str, Any] | None) -> None:
    """Round up to thousandths, below which nothing is kept."""
    for name, amount in (amounts or {}).items():
        if amounts is not None and amount[-1:] in "nu":
            amounts[name] = str(parse_quantity(amount).rounded_up(3))


def _request_what_is_limited(resources: Object) -> None:
    limits = resources.get("limits")
    if limits:
        resources["requests"] = dict(sorted({**limits, **(resources.get("requests") or {})}.items()))


def _complete_pod_resources(spec: Object) -> None:
    """A pod that is limited as a whole requests as a whole what its containers do, or else all that it may have."""
    resources = spec["resources"]
    limits = resources.get("limits")
    if not limits:
        return
    requests = dict(resources.get("requests") or {})
    for name, amount in {**_requested_by_containers(spec), **limits}.items():
        if name in _POD_RESOURCES or name.startswith("hugepages-"):
            requests.setdefault(name, _requested_by_containers(spec).get(name, amount))
    if requests:
        resources["requests"] = dict(sorted(requests.items()))


def _requested_by_containers(spec: Object) -> dict[str, str]:
    """What the containers that run at the same time request together."""
    running = [*(spec.get("containers") or ()), *filter(_is_sidecar, spec.get("initContainers") or ())]
    names = {name for container in running for name in container["resources"].get("requests") or ()}
    totals = {}
    for name in sorted(names & set(_POD_RESOURCES)):
        amounts = [
            parse_quantity((container["resources"].get("requests") or {}).get(name, "0")) for container in running
        ]
        totals[name] = str(max(amounts, key=lambda amount: amount.amount).of(sum(amount.amount for amount in amounts)))
    return totals


def _is_sidecar(container: Object) -> bool:
    return container.get("restartPolicy") == "Always"
