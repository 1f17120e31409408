"""`unitsim kube`: the platform in a cluster, for good. Shows its manifests, installs it, takes it out."""

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from simulator.cli.execution import run_async
from simulator.cli.flags import Json, switch
from simulator.cli.output import Output
from simulator.errors import UsageError
from simulator.install.names import (
    DEFAULT_IMAGE_PREFIX,
    DEFAULT_NATS_IMAGE,
    DEFAULT_STORAGE,
    DEFAULT_TAG,
    PLATFORM,
)

if TYPE_CHECKING:
    from simulator.install.settings import InstallSettings
    from simulator.install.target import TargetCluster

app = App(name="kube", help="The platform in a cluster: manifests, install, uninstall.", help_on_error=False)

Timeout = Annotated[float, Parameter(help="Seconds that it may take.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Installation:
    """What is installed, and where in the cluster."""

    namespace: Annotated[str, Parameter(help="Namespace of the platform's own pods.")] = PLATFORM
    image_prefix: Annotated[str, Parameter(help="What stands before /platform, /sidecar and /echo.")] = (
        DEFAULT_IMAGE_PREFIX
    )
    tag: Annotated[str, Parameter(help="Tag of these images.")] = DEFAULT_TAG
    nats_image: Annotated[str, Parameter(help="The queue's image.")] = DEFAULT_NATS_IMAGE
    storage: Annotated[str, Parameter(help="Size of the queue's volume.")] = DEFAULT_STORAGE
    storage_class: Annotated[str | None, Parameter(help="Its StorageClass; the cluster's default if not given.")] = None
    api_node_port: Annotated[int | None, Parameter(help="Port of every node for the runtime API.")] = None
    nats_node_port: Annotated[int | None, Parameter(help="Port of every node for the queue.")] = None
    max_concurrency: Annotated[int, Parameter(help="Calls that each worker runs at once.")] = 1
    gpu_budget: Annotated[int | None, Parameter(help="GPUs that all workers may use together.")] = None

    def settings(self) -> "InstallSettings":
        """The same, checked. Raises UsageError."""
        from simulator.install.settings import InstallSettings

        return InstallSettings(
            namespace=self.namespace,
            image_prefix=self.image_prefix.rstrip("/"),
            tag=self.tag,
            nats_image=self.nats_image,
            storage=self.storage,
            storage_class=self.storage_class,
            api_node_port=self.api_node_port,
            nats_node_port=self.nats_node_port,
            max_concurrency=self.max_concurrency,
            gpu_budget=self.gpu_budget,
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ClusterChoice:
    """The cluster that is meant; which one must be said, so that nobody installs into the wrong one."""

    context: Annotated[str, Parameter(help="Context of the kubeconfig; `kubectl config get-contexts` lists them.")]
    kubeconfig: Annotated[Path | None, Parameter(env_var="KUBECONFIG", help="~/.kube/config if not given.")] = None

    def connect(self) -> "AbstractAsyncContextManager[TargetCluster]":
        """A connection to it."""
        from simulator.install.target import target_cluster

        return target_cluster(self.kubeconfig or Path("~/.kube/config").expanduser(), self.context)


@app.command
def manifests(*, installation: Installation = Installation(), json: Json = False) -> int:
    """Write the platform's objects as YAML, with new keys each time; they are secrets.

    `unitsim kube manifests | kubectl apply --server-side -f -` installs them.
    """
    from simulator.install.keys import PlatformKeys
    from simulator.install.manifests import manifests as objects_of
    from simulator.install.manifests import to_yaml

    output = Output(json)
    objects = objects_of(installation.settings(), PlatformKeys.fresh())
    output.result({"apiVersion": "v1", "kind": "List", "items": objects})
    if not json:
        sys.stdout.write(to_yaml(objects))
    return 0


@app.command
def install(
    *,
    cluster: ClusterChoice,
    installation: Installation = Installation(),
    dry_run: Annotated[bool, switch(help="Have the cluster check everything, and keep nothing.")] = False,
    force_conflicts: Annotated[bool, switch(help="Take over fields that somebody else manages.")] = False,
    timeout: Timeout = 300,
    json: Json = False,
) -> int:
    """Put the platform into a cluster, or bring the one that is there up to date, and wait until it runs.

    What is there stays as it is: the keys, the queue's messages, the units.
    """
    _check_timeout(timeout)
    settings, output = installation.settings(), Output(json)
    return run_async(_install(cluster, settings, output, timeout, dry_run=dry_run, force=force_conflicts))


async def _install(
    choice: ClusterChoice, settings: "InstallSettings", output: Output, timeout_s: float, *, dry_run: bool, force: bool
) -> int:
    from simulator.install.installation import apply_all, platform_objects, wait_ready

    async with choice.connect() as cluster:
        objects = await platform_objects(cluster, settings)
        done = await apply_all(cluster, objects, output.say, force=force, dry_run=dry_run)
        if not dry_run:
            await wait_ready(cluster, objects, output.say, timeout_s)
        url = cluster.url
    output.say("nothing was kept: a dry run" if dry_run else f"the platform runs in {url}", style="green")
    output.result(
        {"cluster": url, "namespace": settings.namespace, "dryRun": dry_run, "objects": [asdict(each) for each in done]}
    )
    return 0


@app.command
def uninstall(
    *,
    cluster: ClusterChoice,
    yes: Annotated[bool, switch(name=["--yes", "-y"], help="Do not ask.")] = False,
    timeout: Timeout = 300,
    json: Json = False,
) -> int:
    """Take the platform out of a cluster: its units, its namespaces with all that is in them, the GPUUnit resource.

    The messages of the queue and the keys go too.
    """
    _check_timeout(timeout)
    return run_async(_uninstall(cluster, Output(json), timeout, yes))


async def _uninstall(choice: ClusterChoice, output: Output, timeout_s: float, yes: bool) -> int:
    from simulator.install.removal import find_remains, remove

    async with choice.connect() as cluster:
        remains = await find_remains(cluster)
        names = list(remains.names())
        if names and not yes:
            _ask([f"This deletes from {cluster.url}:", *(f"  {name}" for name in names)])
        await remove(cluster, remains, output.say, timeout_s)
    output.say("nothing of the platform is left" if names else "the platform is not there", style="green")
    output.result({"deleted": names})
    return 0


def _ask(lines: list[str], read: Callable[[str], str] = input) -> None:
    """Go on when a person at the terminal agrees. Raises UsageError."""
    if not sys.stdin.isatty():
        raise UsageError("there is nobody to ask whether all of it shall be deleted: give --yes")
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()
    if read("Delete all of it? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UsageError("not confirmed, so nothing was deleted")


def _check_timeout(seconds: float) -> None:
    if not 0 < seconds < float("inf"):
        raise UsageError(f"--timeout {seconds:g} must be more than 0 seconds")
