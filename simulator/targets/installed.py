"""What an installed platform says of itself: its queue's stream, its images, its administrator's credentials."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field

from sidecar.queue import Credentials, StreamSettings
from sidecar.subjects import DEFAULT_PREFIX, DEFAULT_STREAM, Subjects
from simulator.errors import EnvironmentMissing, KubeError, NotFoundError
from simulator.identities.secret import CREDENTIALS_KEY
from simulator.install.images import PLATFORM_IMAGE
from simulator.install.names import API, credentials_secret
from simulator.kube.client import Cluster
from simulator.kube.kinds import DEPLOYMENT, SECRET, Object
from simulator.targets.place import Place

ADMIN_SECRET = credentials_secret("admin")


@dataclass(frozen=True, slots=True)
class Installed:
    """An installed platform. `credentials` are those of the queue's administrator."""

    stream: StreamSettings
    echo_image: str
    credentials: Credentials = field(repr=False)


async def find_installed(cluster: Cluster, place: Place) -> Installed:
    """Read the platform's own objects.

    Raises:
        EnvironmentMissing: it is not installed there, or we may not read what opens its queue.
        KubeError: the cluster does not answer, or refuses to show its Deployments.
    """
    try:
        deployment = await cluster.get(DEPLOYMENT, API.deployment, place.namespace)
    except NotFoundError as error:
        raise EnvironmentMissing(
            f"the platform is not installed in namespace {place.namespace} of context {place.context}: "
            f"'unitsim kube install --context {place.context}' does it, --namespace names another"
        ) from error
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return Installed(
        stream=stream_of(container["args"]),
        echo_image=echo_image_of(container["image"]),
        credentials=await _credentials(cluster, place),
    )


def stream_of(arguments: Sequence[str]) -> StreamSettings:
    """The stream that a part's command line names."""
    words = list(arguments)

    def option(name: str, default: str) -> str:
        return words[words.index(name) + 1] if name in words else default

    prefix = option("--subject-prefix", DEFAULT_PREFIX)
    return StreamSettings(name=option("--stream-name", DEFAULT_STREAM), subjects=Subjects(prefix))


def echo_image_of(platform_image: str) -> str:
    """The echo framework's image, which has the prefix and the tag of the platform's.

    Raises:
        EnvironmentMissing: the platform's image is not called as those are that are installed.
    """
    prefix, found, tag = platform_image.rpartition(f"/{PLATFORM_IMAGE}:")
    if not found:
        raise EnvironmentMissing(
            f"the platform's image {platform_image!r} is not PREFIX/{PLATFORM_IMAGE}:TAG, so that of the echo "
            "framework is not known: install it with 'unitsim kube install'"
        )
    return f"{prefix}/echo:{tag}"


async def _credentials(cluster: Cluster, place: Place) -> Credentials:
    try:
        secret: Object = await cluster.get(SECRET, ADMIN_SECRET, place.namespace)
        return Credentials(base64.b64decode(secret["data"][CREDENTIALS_KEY], validate=True).decode("ascii"))
    except KubeError as error:
        raise EnvironmentMissing(
            f"cannot read the Secret {ADMIN_SECRET} in namespace {place.namespace}, which opens the queue: {error}; "
            f"whoever runs scenarios must be allowed to get it"
        ) from error
    except (KeyError, ValueError, binascii.Error) as error:
        raise EnvironmentMissing(
            f"the Secret {ADMIN_SECRET} in namespace {place.namespace} holds no credentials: "
            f"'unitsim kube install --context {place.context}' writes it anew"
        ) from error
