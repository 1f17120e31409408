"""The flags of `unitsim run` that say where scenarios run."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from simulator.errors import UsageError
from simulator.install.names import KIND_CLUSTER, PLATFORM

if TYPE_CHECKING:
    from simulator.targets.target import OpenTarget


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TargetChoice:
    """Where scenarios run: `local`, `kube` for any cluster, or `kind` for that of `unitsim kind up`."""

    target: Annotated[Literal["local", "kube", "kind"], Parameter(help="Where the platform is that they run on.")] = (
        "local"
    )
    context: Annotated[str | None, Parameter(help="Context of the kubeconfig, for `kube`; for `kind` its own.")] = None
    kubeconfig: Annotated[Path | None, Parameter(help="KUBECONFIG, or ~/.kube/config, if not given.")] = None
    namespace: Annotated[str | None, Parameter(help="Where the platform was installed; gpuunit-sim if not given.")] = (
        None
    )

    def opener(self, *, keep: bool, tell: Callable[[str], None]) -> "OpenTarget":
        """What opens the target for each scenario; `tell` hears what is left behind. Raises UsageError."""
        if self.target == "local":
            return self._local(keep)
        if keep:
            raise UsageError("--keep is for local platforms: what a scenario makes in a cluster is always deleted")
        from simulator.install.kind import CONFIG, port_mappings
        from simulator.targets.cluster import cluster_target
        from simulator.targets.place import Place
        from simulator.targets.ways_in import forwarded, mapped

        context = self.context or (f"kind-{KIND_CLUSTER}" if self.target == "kind" else "")
        if not context:
            raise UsageError("--target kube needs --context; 'kubectl config get-contexts' lists them")
        kubeconfig = self.kubeconfig or Path(os.environ.get("KUBECONFIG") or "~/.kube/config")
        way_in = mapped(dict(port_mappings(CONFIG))) if self.target == "kind" else forwarded
        return partial(
            cluster_target, Place(kubeconfig.expanduser(), context, self.namespace or PLATFORM), way_in, tell
        )

    def _local(self, keep: bool) -> "OpenTarget":
        from simulator.platform import PlatformOptions
        from simulator.targets.local import local_target

        for flag, value in (("context", self.context), ("kubeconfig", self.kubeconfig), ("namespace", self.namespace)):
            if value is not None:
                raise UsageError(f"--{flag} is for clusters: give --target kube or --target kind with it")
        return partial(local_target, PlatformOptions(keep=keep))


LOCAL = TargetChoice()
