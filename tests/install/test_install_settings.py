"""What can be wrong about an installation's settings."""

import pytest

from simulator.errors import UsageError
from simulator.install.settings import InstallSettings


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"namespace": "Upper"}, "'Upper' must be a DNS label"),
        ({"namespace": ""}, "'' must be a DNS label"),
        ({"namespace": "a" * 64}, "must be a DNS label"),
        ({"namespace": "kube-system"}, "choose one of its own"),
        ({"namespace": "runtime-instance"}, "choose one of its own"),
        ({"image_prefix": "Team"}, "image prefix 'Team'"),
        ({"image_prefix": "a//b"}, "image prefix 'a//b'"),
        ({"image_prefix": "a b"}, "image prefix 'a b'"),
        ({"tag": ""}, "image tag ''"),
        ({"tag": "a/b"}, "image tag 'a/b'"),
        ({"nats_image": "--help"}, "NATS image '--help'"),
        ({"storage": "much"}, "storage 'much' must be a size"),
        ({"storage": "0"}, "storage '0' must be more than nothing"),
        ({"storage": "-1Gi"}, "storage '-1Gi'"),
        ({"storage_class": ""}, "storage class ''"),
        ({"storage_class": "Fast SSD"}, "storage class 'Fast SSD' must be one that"),
        ({"api_node_port": 80}, "node port 80 must be between 30000 and 32767"),
        ({"nats_node_port": 32768}, "node port 32768"),
        ({"api_node_port": 30080, "nats_node_port": 30080}, "cannot both have node port 30080"),
        ({"max_concurrency": 0}, "max concurrency 0"),
        ({"gpu_budget": -1}, "GPU budget -1"),
    ],
)
def test_wrong_settings(settings: dict[str, object], hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        InstallSettings(**settings)  # type: ignore[arg-type]
    assert hint in str(refused.value)


def test_images_have_prefix_and_tag() -> None:
    settings = InstallSettings(image_prefix="registry.example:5000/team", tag="1.2")
    assert settings.image("sidecar") == "registry.example:5000/team/sidecar:1.2"
