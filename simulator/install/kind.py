"""A cluster on this machine by `kind`: make it, bring images into it, take it away."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from simulator.errors import EnvironmentMissing, UsageError
from simulator.install.images import IMAGES, ROOT, write_context
from simulator.install.settings import InstallSettings
from simulator.install.tools import KIND, PODMAN, Tool, ask_tool, find_engine, require, run_tool
from simulator.ports import ensure_free

CONFIG: Final = ROOT / "fixtures" / "kind" / "cluster.yaml"
READY_WAIT: Final = "180s"
"""For the control plane of a new cluster; the other nodes follow."""

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,49}")


@dataclass(frozen=True, slots=True)
class KindCluster:
    """One cluster of kind, by its name; `engine` runs its nodes.

    Raises:
        UsageError: the name is none that kind takes.
    """

    name: str
    engine: Tool

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(f"cluster name {self.name!r} must be lower-case letters, digits, '-' and '.'")

    @property
    def context(self) -> str:
        """The context that kind adds to the kubeconfig."""
        return f"kind-{self.name}"

    def exists(self) -> bool:
        """Whether it is there. Raises PlatformError: kind does not say."""
        return self.name in ask_tool(["kind", "get", "clusters"], self._env).split()

    def create(self, config: Path, node_image: str | None, kubeconfig: Path | None) -> None:
        """Make the cluster and wait for its control plane.

        Raises:
            PortTakenError: a port that it is to have on this machine is taken.
            PlatformError: kind failed.
        """
        for port in host_ports(config):
            ensure_free(port, f"change it in {config}, or name another file with --config")
        image = ["--image", node_image] if node_image else []
        where = ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
        options = ["--name", self.name, "--config", str(config), "--wait", READY_WAIT]
        run_tool(["kind", "create", "cluster", *options, *image, *where], env=self._env)

    def delete(self, kubeconfig: Path | None) -> None:
        """Take the cluster away. Raises PlatformError: kind failed."""
        where = ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
        run_tool(["kind", "delete", "cluster", "--name", self.name, *where], env=self._env)

    def load(self, images: Sequence[str]) -> None:
        """Bring images of the engine into every node. Raises PlatformError: an image is not there, or kind failed."""
        if self.engine != PODMAN:
            run_tool(["kind", "load", "docker-image", "--name", self.name, *images], env=self._env)
            return
        # kind asks docker for images; from podman it takes them as a file.
        with tempfile.TemporaryDirectory(prefix="unitsim-") as directory:
            archive = str(Path(directory) / "images.tar")
            run_tool(["podman", "save", "--multi-image-archive", "--output", archive, *images])
            run_tool(["kind", "load", "image-archive", "--name", self.name, archive], env=self._env)

    @property
    def _env(self) -> dict[str, str]:
        return {"KIND_EXPERIMENTAL_PROVIDER": self.engine.name}


def kind_cluster(name: str, engine: str | None) -> KindCluster:
    """The cluster of that name, when kind and a container engine are there.

    Raises:
        EnvironmentMissing: one of them is not.
    """
    require(KIND)
    return KindCluster(name, find_engine(engine))


def host_ports(config: Path) -> list[int]:
    """The ports that a cluster of this configuration takes on this machine. Raises what `port_mappings` raises."""
    return [host for _, host in port_mappings(config)]


def port_mappings(config: Path) -> list[tuple[int, int]]:
    """The ports of nodes that a cluster of this configuration has, each with the one of this machine that leads there.

    Raises:
        EnvironmentMissing: the file cannot be read.
        UsageError: it is no configuration of kind's.
    """
    try:
        content: Any = msgspec.yaml.decode(config.read_bytes(), type=dict[str, Any])
        nodes = content.get("nodes") or []
        mappings = [mapping for node in nodes for mapping in node.get("extraPortMappings") or []]
        return [(int(mapping.get("containerPort") or 0), int(mapping["hostPort"])) for mapping in mappings]
    except OSError as error:
        raise EnvironmentMissing(f"cannot read the cluster's configuration {config}: {error.strerror}") from error
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{config} is no configuration of kind's; see fixtures/kind/cluster.yaml") from error


def build_images(engine: Tool, settings: InstallSettings, base: str | None, wheels: Path | None) -> list[str]:
    """Build the three images; return their names.

    `base` replaces the Python image that they are built from. With `wheels`, packages come from there and from nowhere
    else.

    Raises:
        PlatformError: a build failed.
    """
    arguments = ["--build-arg", f"BASE={base}"] if base else []
    arguments += ["--build-arg", "PIP_ARGS=--no-index"] if wheels else []
    built = []
    for image in IMAGES:
        name = settings.image(image)
        with tempfile.TemporaryDirectory(prefix="unitsim-") as directory:
            write_context(Path(directory), image, wheels)
            run_tool([engine.name, "build", *arguments, "--tag", name, directory])
        built.append(name)
    return built
