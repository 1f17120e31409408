"""The world of a platform in this process, for tests that look into its parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scenarios.world import World, world_of
from simulator.platform import Platform
from simulator.targets.local import target_of


class LocalWorld(World):
    """A `World` with the platform that it is of."""

    def __init__(self, platform: Platform, world: World) -> None:
        super().__init__(world.target, world.api, world.journal)
        self.platform = platform


@asynccontextmanager
async def local_world_of(platform: Platform) -> AsyncIterator[LocalWorld]:
    """The world of a running platform, while the block runs."""
    async with world_of(target_of(platform)) as world:
        yield LocalWorld(platform, world)
