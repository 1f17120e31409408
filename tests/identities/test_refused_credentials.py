"""Credentials of another authority: refused, said as such, and the log is not flooded meanwhile."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sidecar.queue import Queue, QueueRefusedError, StreamSettings
from simulator.identities import permissions
from simulator.identities.authority import Authority
from simulator.nats_server import NatsServer
from simulator.processes.spawn import Processes

pytestmark = pytest.mark.e2e


async def test_strange_credentials_are_refused_and_not_taken_for_a_missing_server(
    processes: Processes, tmp_path: Path
) -> None:
    authority, stranger = (Authority(tmp_path / name, StreamSettings()) for name in ("ours", "theirs"))
    async with NatsServer(processes, tmp_path / "nats", authority=authority) as server:
        access = stranger.access("admin", permissions.admin())
        # The server looks for the strange account for two seconds before it refuses.
        connecting = Queue.connect(server.url, client_name="test", timeout_s=8, access=access)
        with capture_logs() as logs, pytest.raises(QueueRefusedError, match="refused the connection"):
            await connecting.__aenter__()
    refusals = [line for line in logs if line["event"] == "the server does not accept these credentials"]
    assert len(refusals) == 1
