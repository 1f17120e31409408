"""What a container's preStop hook is, and what it leaves of the grace period: tables of plain values."""

from typing import Any

import pytest

from simulator.kube.kinds import Object
from simulator.kubelet.env_sources import ConfigError
from simulator.kubelet.ports import called_ports
from simulator.kubelet.pre_stop import Hook, Sleep, pre_stop_hook, remaining_grace_s
from simulator.kubelet.probe_rules import Exec, HttpGet

DRAIN: Object = {"httpGet": {"path": "/drain", "port": 8091}}


def with_hook(hook: Object | None, **extra: Any) -> Object:
    return {"name": "c", "lifecycle": {"preStop": hook}, **extra}


@pytest.mark.parametrize(
    ("container", "hook"),
    [
        ({"name": "c"}, None),
        ({"name": "c", "lifecycle": {"postStart": DRAIN}}, None),
        (with_hook(None), None),
        (with_hook(DRAIN), HttpGet("http://127.0.0.1:48091/drain", any_status=True)),
        (
            with_hook({"httpGet": {"port": "web"}}, ports=[{"name": "web", "containerPort": 80}]),
            HttpGet("http://127.0.0.1:80/", any_status=True),
        ),
        (with_hook({"exec": {"command": ["drain", "now"]}}), Exec(("drain", "now"))),
        (with_hook({"sleep": {"seconds": 3}}), Sleep(3)),
    ],
)
def test_pre_stop_hooks(container: Object, hook: Hook | None) -> None:
    assert pre_stop_hook(container, {8091: 48091}) == hook


@pytest.mark.parametrize("hook", [{"tcpSocket": {"port": 1}}, {"exec": {}}], ids=["tcpSocket", "empty"])
def test_hooks_that_are_not_supported(hook: Object) -> None:
    with pytest.raises(ConfigError, match="container c: a preStop hook must be an httpGet, exec or sleep one"):
        pre_stop_hook(with_hook(hook), {})


def test_a_hook_that_names_an_unknown_port() -> None:
    with pytest.raises(ConfigError, match='container c: a probe or hook names the port "db"'):
        pre_stop_hook(with_hook({"httpGet": {"port": "db"}}), {})


def test_the_port_of_a_hook_is_replaced_as_those_of_probes_are() -> None:
    probed = {"name": "p", "readinessProbe": {"tcpSocket": {"port": 80}}, "lifecycle": {}}
    assert called_ports([with_hook(DRAIN), probed, with_hook({"exec": {"command": ["true"]}})]) == {80, 8091}


@pytest.mark.parametrize(
    ("grace_s", "elapsed_s", "left_s"), [(30, 0, 30), (30, 12, 18), (30, 29, 2), (30, 31, 2), (1, 0.5, 2)]
)
def test_what_is_left_of_a_grace_period(grace_s: float, elapsed_s: float, left_s: float) -> None:
    """Something is always left for SIGTERM."""
    assert remaining_grace_s(grace_s, elapsed_s) == left_s
