"""A running embedded API, and a client of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulator.kube.client import Cluster
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore


@pytest.fixture
def store() -> ResourceStore:
    return ResourceStore()


@pytest.fixture
async def server(store: ResourceStore) -> AsyncIterator[KubeServer]:
    async with KubeServer(store) as server:
        yield server


@pytest.fixture
def kubeconfig(server: KubeServer, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    server.write_kubeconfig(path)
    return path


@pytest.fixture
async def cluster(kubeconfig: Path) -> AsyncIterator[Cluster]:
    async with Cluster(kubeconfig, field_manager="tests") as cluster:
        yield cluster
