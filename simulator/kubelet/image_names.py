"""Names of images: whether one is a reference at all, and when it has to be pulled. Pure functions."""

import re
from typing import Final

from simulator.kube.kinds import Object

_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST: Final = r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"  # noqa: E501 - one grammar rule
_REFERENCE: Final = re.compile(
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::[\w][\w.-]{{0,127}})?(?:@[A-Za-z][\w+.-]*:[0-9a-fA-F]{{32,}})?", re.ASCII
)
_IDENTIFIER: Final = re.compile(r"[a-f0-9]{64}")
_TAG: Final = re.compile(r":[\w][\w.-]{0,127}$", re.ASCII)


def name_problem(image: str) -> str:
    """What a kubelet says of a name that is no reference of an image, "" if it is one."""
    problem = _parse_problem(image)
    if not problem:
        return ""
    return f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {problem}'


def _parse_problem(image: str) -> str:
    if _IDENTIFIER.fullmatch(image):
        return f"invalid repository name ({image}), cannot specify 64-byte hexadecimal strings"
    domain, repository = _split(image)
    name = repository.partition(":")[0]
    if name != name.lower():
        return f"invalid reference format: repository name ({name}) must be lowercase"
    return "" if _REFERENCE.fullmatch(f"{domain}/{repository}") else "invalid reference format"


def _split(image: str) -> tuple[str, str]:
    """The registry and the rest; a name without a registry is one of docker.io's."""
    first, slash, rest = image.partition("/")
    if slash and (any(mark in first for mark in ".:") or first == "localhost" or first != first.lower()):
        return first, rest
    return "docker.io", image if slash else f"library/{image}"


def pull_policy(container: Object) -> str:
    """`Always`, `IfNotPresent` or `Never`: the container's own, or the one that follows from its image's tag."""
    if policy := container.get("imagePullPolicy"):
        return str(policy)
    image = container.get("image", "")
    tag = _TAG.search(image)
    newest = (tag is None and "@" not in image) or (tag is not None and tag[0] == ":latest")
    return "Always" if newest else "IfNotPresent"
