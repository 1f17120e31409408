"""`unitsim kind`: a cluster on this machine to install the platform into, and the images for it."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from simulator.cli.flags import Json
from simulator.cli.output import Output
from simulator.errors import UsageError
from simulator.install.names import DEFAULT_IMAGE_PREFIX, DEFAULT_TAG, KIND_CLUSTER

app = App(name="kind", help="A cluster on this machine, by the tool kind.", help_on_error=False)

Name = Annotated[str, Parameter(help="The cluster's name.")]
Engine = Annotated[Literal["docker", "podman"] | None, Parameter(help="The first that works if not given.")]
Kubeconfig = Annotated[Path | None, Parameter(help="Where kind writes the cluster's address; kind's own place if not.")]
Prefix = Annotated[str, Parameter(help="What stands before /platform, /sidecar and /echo.")]
Tag = Annotated[str, Parameter(help="Tag of the images.")]


@app.command
def up(
    *,
    name: Name = KIND_CLUSTER,
    config: Annotated[
        Path | None, Parameter(help="Configuration of kind's; fixtures/kind/cluster.yaml if not.")
    ] = None,
    node_image: Annotated[
        str | None,
        Parameter(env_var="UNITSIM_KIND_NODE_IMAGE", help="Image of the nodes, which is their Kubernetes version."),
    ] = None,
    kubeconfig: Kubeconfig = None,
    engine: Engine = None,
    json: Json = False,
) -> int:
    """Make the cluster, and wait for its control plane. One that is there stays as it is."""
    from simulator.install.kind import CONFIG, host_ports, kind_cluster

    output, chosen = Output(json), config or CONFIG
    ports = host_ports(chosen)
    cluster = kind_cluster(name, engine)
    made = not cluster.exists()
    if made:
        cluster.create(chosen, node_image, kubeconfig)
    output.say(f"cluster {name} {'is up' if made else 'was there already'}: context {cluster.context}")
    output.say("next: unitsim kind build, unitsim kind load, unitsim kube install --context " + cluster.context)
    output.result({"cluster": name, "context": cluster.context, "made": made, "ports": ports})
    return 0


@app.command
def down(*, name: Name = KIND_CLUSTER, kubeconfig: Kubeconfig = None, engine: Engine = None, json: Json = False) -> int:
    """Take the cluster away with all that is in it. It is no mistake if there is none."""
    from simulator.install.kind import kind_cluster

    output, cluster = Output(json), kind_cluster(name, engine)
    there = cluster.exists()
    if there:
        cluster.delete(kubeconfig)
    output.say(f"cluster {name} {'is gone' if there else 'was not there'}")
    output.result({"cluster": name, "deleted": there})
    return 0


@app.command
def build(
    *,
    base: Annotated[
        str | None, Parameter(help="Image with Python and pip to build from, best with its digest.")
    ] = None,
    wheels: Annotated[Path | None, Parameter(help="Take packages from this directory only: no network.")] = None,
    image_prefix: Prefix = DEFAULT_IMAGE_PREFIX,
    tag: Tag = DEFAULT_TAG,
    engine: Engine = None,
    json: Json = False,
) -> int:
    """Build the images of platform, sidecar and echo framework from this source."""
    from simulator.install.kind import build_images
    from simulator.install.settings import InstallSettings
    from simulator.install.tools import find_engine

    output = Output(json)
    if base is not None and (not base.strip() or base.startswith("-")):
        raise UsageError(f"--base {base!r} must be the name of an image")
    settings = InstallSettings(image_prefix=image_prefix.rstrip("/"), tag=tag)
    built = build_images(find_engine(engine), settings, base, wheels)
    for image in built:
        output.say(f"built {image}")
    output.result({"images": built})
    return 0


@app.command
def load(
    *images: str,
    name: Name = KIND_CLUSTER,
    image_prefix: Prefix = DEFAULT_IMAGE_PREFIX,
    tag: Tag = DEFAULT_TAG,
    engine: Engine = None,
    json: Json = False,
) -> int:
    """Bring the built images into the cluster's nodes.

    Parameters
    ----------
    images
        Further images, such as those of your own frameworks, or the queue's where nodes have no network.
    """
    from simulator.install.images import IMAGES
    from simulator.install.kind import kind_cluster
    from simulator.install.settings import InstallSettings

    output = Output(json)
    settings = InstallSettings(image_prefix=image_prefix.rstrip("/"), tag=tag)
    wrong = [image for image in images if image.startswith("-") or not image.strip()]
    if wrong:
        raise UsageError(f"{wrong[0]!r} is no image")
    cluster = kind_cluster(name, engine)
    if not cluster.exists():
        raise UsageError(f"there is no cluster {name}: make it with 'unitsim kind up --name {name}'")
    loaded = [*(settings.image(image) for image in IMAGES), *images]
    cluster.load(loaded)
    for image in loaded:
        output.say(f"loaded {image}")
    output.result({"cluster": name, "images": loaded})
    return 0
