"""What is read of an installed platform, and what people are told when it is not there, or closed to them."""

import base64
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import EnvironmentMissing, KubeError, NotFoundError
from simulator.install.keys import PlatformKeys
from simulator.install.manifests import manifests
from simulator.install.settings import InstallSettings
from simulator.kube.kinds import Kind, Object
from simulator.targets.installed import ADMIN_SECRET, echo_image_of, find_installed
from simulator.targets.place import Place

PLACE = Place(Path("/k"), "desk")


class StubCluster:
    """Holds what an installation makes; `changed` replaces objects, by errors too."""

    def __init__(self, settings: InstallSettings, **changed: Any) -> None:
        objects = manifests(settings, PlatformKeys.fresh())
        self._objects: dict[str, Any] = {f"{each['kind']}/{each['metadata']['name']}": each for each in objects}
        self._objects |= {name.replace("_", "/", 1).replace("_", "-"): value for name, value in changed.items()}

    async def get(self, kind: Kind, name: str, namespace: str) -> Object:
        assert namespace == PLACE.namespace
        found = self._objects.get(f"{kind.kind}/{name}", NotFoundError("not found"))
        if isinstance(found, Exception):
            raise found
        return dict(found)


async def find(settings: InstallSettings | None = None, **changed: Any) -> Any:
    return await find_installed(StubCluster(settings or InstallSettings(), **changed), PLACE)  # type: ignore[arg-type]


async def test_stream_images_and_credentials_are_read() -> None:
    installed = await find(InstallSettings(image_prefix="registry.example:5000/team", tag="0.2"))
    assert installed.echo_image == "registry.example:5000/team/echo:0.2"
    assert installed.stream == InstallSettings().stream
    assert "BEGIN USER NKEY SEED" in installed.credentials.text
    assert "SEED" not in repr(installed)


async def test_where_nothing_is_installed_the_command_that_does_it_is_named() -> None:
    with pytest.raises(EnvironmentMissing, match="context desk: 'unitsim kube install --context desk'"):
        await find(Deployment_gpuunit_sim_api=NotFoundError("not found"))


async def test_who_may_not_read_the_secret_is_told_which_it_is() -> None:
    with pytest.raises(EnvironmentMissing, match=f"cannot read the Secret {ADMIN_SECRET} .*: forbidden"):
        await find(Secret_gpuunit_sim_admin_nats=KubeError("forbidden"))


@pytest.mark.parametrize("data", [{}, {"nats.creds": "%"}, {"nats.creds": base64.b64encode(b"\xff").decode()}])
async def test_a_secret_without_credentials_is_no_way_in(data: dict[str, str]) -> None:
    with pytest.raises(EnvironmentMissing, match="holds no credentials"):
        await find(Secret_gpuunit_sim_admin_nats={"data": data})


@pytest.mark.parametrize("image", ["platform:dev", "a/platform@sha256:1", "a/other:dev"])
def test_a_platform_image_of_another_name_says_nothing_of_the_echos(image: str) -> None:
    with pytest.raises(EnvironmentMissing, match="is not PREFIX/platform:TAG"):
        echo_image_of(image)
