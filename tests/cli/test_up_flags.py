"""What `unitsim up` takes: nodes, users for pods, and a place for the kubeconfig."""

import json
from pathlib import Path

import pytest

from simulator.cli.kubeconfig import check_place, copied
from simulator.cli.up import nodes_of, users_of
from simulator.errors import UsageError
from simulator.kube.access.kubeconfig import NAME
from simulator.nodes import NodeSpec

OURS = json.dumps({"clusters": [{"name": NAME}], "current-context": NAME})


def test_nodes_have_the_room_that_is_named() -> None:
    assert nodes_of(["gpu-a:gpus=2,cpu=8,memory=32Gi,pods=20", "b"]) == (
        NodeSpec("gpu-a", cpu="8", memory="32Gi", pods=20, gpus=2),
        NodeSpec("b"),
    )


def test_without_any_there_is_the_node_with_room_for_everything() -> None:
    assert nodes_of([]) == (NodeSpec(),)


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (["GPU_A"], "lower case"),
        ([""], "lower case"),
        (["a:"], ""),
        (["a:gpu=2"], "gpus"),
        (["a:gpus"], "quantity"),
        (["a:gpus=1.5"], "from 0 on"),
        (["a:gpus=1k"], "from 0 on"),
        (["a:gpus=-1"], "from 0 on"),
        (["a:memory=much"], "quantity"),
        (["a:memory=-1Gi"], "from 0 on"),
        (["a:gpus=1,gpus=2"], "each once"),
        (["a:gpus=1,"], "each once"),
        (["a", "a:gpus=1"], "twice"),
    ],
)
def test_a_node_that_cannot_be_read_is_named(texts: list[str], named: str) -> None:
    with pytest.raises(UsageError, match=f"--node: .*{named}"):
        nodes_of(texts)


def test_the_users_of_pods_are_a_range() -> None:
    assert users_of("70000-79999") == range(70000, 80000)
    with pytest.raises(UsageError, match="--pod-users: '70000' is no range of users"):
        users_of("70000")


def test_a_copy_of_the_kubeconfig_is_its_owners_and_goes_with_the_platform(tmp_path: Path) -> None:
    source, place = tmp_path / "source", tmp_path / "place"
    source.write_text(OURS)
    with copied(source, place):
        assert place.read_text() == OURS
        assert place.stat().st_mode & 0o777 == 0o600
    assert not place.exists()


def test_what_another_platform_wrote_meanwhile_stays(tmp_path: Path) -> None:
    source, place = tmp_path / "source", tmp_path / "place"
    source.write_text(OURS)
    with copied(source, place):
        place.write_text("another")
    assert place.read_text() == "another"


def test_what_a_killed_platform_left_is_replaced(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.write_text(OURS)
    check_place(place)
    source = tmp_path / "source"
    source.write_text(OURS + "\n")
    with copied(source, place):
        assert place.read_text() == OURS + "\n"


@pytest.mark.parametrize(
    "content", ["", "apiVersion: v1\n", '{"clusters": [{"name": "prod"}]}', "[]", '{"clusters": 1}']
)
def test_a_file_of_somebody_else_is_never_overwritten(tmp_path: Path, content: str) -> None:
    place = tmp_path / "config"
    place.write_text(content)
    with pytest.raises(UsageError, match="was not made by unitsim"):
        check_place(place)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="was not made by unitsim"):
        check_place(tmp_path / "link")


def test_a_place_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be looked at: File name too long"):
        check_place(tmp_path / ("x" * 300))


def test_a_place_without_a_directory_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no directory"):
        check_place(tmp_path / "missing" / "config")
