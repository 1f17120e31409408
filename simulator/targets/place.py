"""A platform in a cluster: where it is, and kubectl for what only kubectl can do there."""

import asyncio
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulator.errors import PlatformError
from simulator.install.names import PLATFORM
from simulator.install.tools import KUBECTL, require

KUBECTL_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """A context of a kubeconfig, and the namespace that the platform was installed into."""

    kubeconfig: Path
    context: str
    namespace: str = PLATFORM

    def kubectl(self, *arguments: str) -> list[str]:
        """The command line that runs kubectl in this cluster."""
        return ["kubectl", "--kubeconfig", str(self.kubeconfig), "--context", self.context, *arguments]

    async def run_kubectl(self, *arguments: str) -> None:
        """Run kubectl to its end.

        Raises:
            EnvironmentMissing: there is none, or it is too old.
            PlatformError: it failed, or did not end; the message holds the last line of what it said.
        """
        await asyncio.to_thread(require, KUBECTL)
        asked = await asyncio.create_subprocess_exec(
            *self.kubectl(*arguments), stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT
        )
        try:
            async with asyncio.timeout(KUBECTL_TIMEOUT_S):
                said, _ = await asked.communicate()
        except TimeoutError as error:
            raise PlatformError(f"'kubectl {arguments[0]}' did not end within {KUBECTL_TIMEOUT_S:g} s") from error
        finally:
            if asked.returncode is None:
                asked.kill()
                await asked.wait()
        if asked.returncode:
            raise PlatformError(f"'kubectl {arguments[0]}' failed: {last_line(said) or f'code {asked.returncode}'}")


def last_line(said: bytes) -> str:
    """The last line of what a program said that is not empty; empty if it said nothing."""
    return next((line.strip() for line in reversed(said.decode(errors="replace").splitlines()) if line.strip()), "")
