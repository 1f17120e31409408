"""The kubelet's decisions, as tables of plain values."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from simulator.gpuunit import RUNTIME_CONTAINER, SIDECAR_CONTAINER
from simulator.kube.kinds import Object
from simulator.kubelet.backoff import format_delay, probe_restart_delay_s, pull_delay_s, restart_delay_s
from simulator.kubelet.env_sources import ConfigError, Sources
from simulator.kubelet.environment import Translation, container_environment, expand
from simulator.kubelet.image_names import name_problem, pull_policy
from simulator.kubelet.images import (
    ECHO_IMAGE,
    SIDECAR_IMAGE,
    ImageTable,
    Program,
    UnknownImageError,
)
from simulator.kubelet.ports import called_ports, port_number
from simulator.kubelet.probe_rules import Exec, HttpGet, ProbeCount, TcpSocket, container_probes
from simulator.kubelet.volumes import Mounts, bindable, container_mounts, empty_dirs

POD: Object = {
    "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"a/b": "c"}},
    "spec": {
        "nodeName": "n",
        "volumes": [
            {"name": "work", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
            {"name": "disk", "persistentVolumeClaim": {"claimName": "d"}},
        ],
    },
}


@pytest.mark.parametrize(
    ("ran_s", "delays_s"),
    [
        ([1] * 8, [0, 10, 20, 40, 80, 160, 300, 300]),
        ([1, 1, 1, 600, 1, 599, 1], [0, 10, 20, 0, 10, 20, 40]),
        ([700, 700], [0, 0]),
    ],
)
def test_restart_delays(ran_s: list[float], delays_s: list[float]) -> None:
    delay: float | None = None
    found = []
    for seconds in ran_s:
        delay = restart_delay_s(delay, seconds)
        found.append(delay)
    assert found == delays_s


@pytest.mark.parametrize(
    ("previous_s", "ran_s", "ended_before", "expected"),
    [
        (None, 1, False, (None, 0)),
        (None, 1, True, (0, 0)),
        (0, 1, True, (10, 10)),
        (0, 11, True, (10, 0)),
        (10, 11, True, (20, 20)),
        (300, 700, True, (0, 0)),
    ],
)
def test_restart_delays_after_a_failed_probe(
    previous_s: float | None, ran_s: float, ended_before: bool, expected: tuple[float | None, float]
) -> None:
    """What counts is how long ago the run before the failed one ended, which is how long this one ran."""
    assert probe_restart_delay_s(previous_s, ran_s, ended_before=ended_before) == expected


SOURCES = Sources("ns", {("ConfigMap", "c"): {"data": {"A": "1"}}, ("Secret", "s"): {"data": {"B": "Mg=="}}})


@pytest.mark.parametrize(
    ("container", "declared"),
    [
        ({"envFrom": [{"configMapRef": {"name": "c"}, "prefix": "X_"}, {"secretRef": {"name": "s"}}]},
         {"X_A": "1", "B": "2"}),
        ({"envFrom": [{"configMapRef": {"name": "no", "optional": True}}]}, {}),
        ({"env": [{"name": "V", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "A"}}}]}, {"V": "1"}),
        ({"env": [{"name": "V", "valueFrom": {"secretKeyRef": {"name": "s", "key": "C", "optional": True}}}]}, {}),
    ],
)  # fmt: skip
def test_variables_of_config_maps_and_secrets(container: Object, declared: dict[str, str]) -> None:
    found = container_environment(POD, {"name": "c", **container}, {}, Path("/home"), Translation(), SOURCES)
    assert found == {"HOME": "/home", **declared}


def test_a_key_that_is_missing() -> None:
    with pytest.raises(ConfigError, match="couldn't find key C in Secret ns/s"):
        SOURCES.one_of({"secretKeyRef": {"name": "s", "key": "C"}})


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ("busybox", ""),
        ("busybox:1", ""),
        ("127.0.0.1:5999/missing:1", ""),
        ("ghcr.io/a/b-c__d@sha256:" + "0" * 64, ""),
        ("Not A Valid Image",
         "invalid reference format: repository name (library/Not A Valid Image) must be lowercase"),
        ("host.io/Upper:1", "invalid reference format: repository name (Upper) must be lowercase"),
        ("with space", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
    ],
)  # fmt: skip
def test_names_of_images(image: str, problem: str) -> None:
    said = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {problem}'
    assert name_problem(image) == (said if problem else "")


@pytest.mark.parametrize(
    ("container", "policy"),
    [
        ({"image": "a"}, "Always"),
        ({"image": "a:latest"}, "Always"),
        ({"image": "a:1"}, "IfNotPresent"),
        ({"image": "h:5000/a"}, "Always"),
        ({"image": "a:1", "imagePullPolicy": "Never"}, "Never"),
    ],
)
def test_pull_policy(container: Object, policy: str) -> None:
    assert pull_policy(container) == policy


def test_pull_delays() -> None:
    delays = [0.0]
    for _ in range(7):
        delays.append(pull_delay_s(delays[-1]))
    assert delays[1:] == [10, 20, 40, 80, 160, 300, 300]


@pytest.mark.parametrize(("delay_s", "text"), [(10, "10s"), (40, "40s"), (80, "1m20s"), (300, "5m0s")])
def test_format_delay(delay_s: float, text: str) -> None:
    assert format_delay(delay_s) == text


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("$(A)/x$(B)", "1/x2"),
        ("$(NOPE)", "$(NOPE)"),
        ("$$(A) $$ $A", "$(A) $ $A"),
        ("$(A", "$(A"),
    ],
)
def test_expand(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


def environment(env: list[Object], translation: Translation | None = None, **extra: Any) -> dict[str, str]:
    host = {"PATH": "/bin", "LANG": "C", "SECRET": "x"}
    spec = {"name": "c", "env": env, **extra}
    return container_environment(POD, spec, host, Path("/home"), translation or Translation())


def test_environment_is_the_pods_own() -> None:
    assert environment([]) == {"PATH": "/bin", "LANG": "C", "HOME": "/home"}
    pairs = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)2"},
        {"name": "A", "value": "3"},
        {"name": "PATH"},
    ]
    assert environment(pairs) == {"PATH": "", "LANG": "C", "HOME": "/home", "A": "3", "B": "12"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "ns"),
        ("metadata.uid", "u"),
        ("metadata.labels['a/b']", "c"),
        ("metadata.annotations['none']", ""),
        ("status.podIP", "127.0.0.1"),
        ("spec.nodeName", "n"),
    ],
)
def test_field_references(path: str, value: str) -> None:
    assert environment([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}])["A"] == value


@pytest.mark.parametrize(
    ("env", "extra", "text"),
    [
        ([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}], {}, 'secret "s" not found'),
        ([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.x"}}}], {}, "variable A: status.x"),
        ([], {"envFrom": [{"configMapRef": {"name": "c"}}]}, 'configmap "c" not found'),
    ],
)
def test_sources_that_are_not_supported(env: list[Object], extra: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        environment(env, **extra)


@pytest.mark.parametrize(
    ("name", "value", "translated"),
    [
        ("HEALTH_PORT", "8091", "40001"),
        ("HEALTH_PORT", "8092", "8092"),
        ("HEALTH_PORT", "x8091", "x8091"),
        ("PORTS", "8091", "8091"),
        ("SOCKET", "/data/a/b.sock", "/host/a/b.sock"),
        ("SOCKET", "/data", "/host"),
        ("SOCKET", "/database", "/database"),
        ("SOCKET", "unix:/data/a", "unix:/data/a"),
    ],
)
def test_translation(name: str, value: str, translated: str) -> None:
    translation = Translation({8091: 40001}, [("/data", Path("/host"))])
    assert environment([{"name": name, "value": value}], translation)[name] == translated


SERVERLESS: Object = {"spec": {"initContainers": [{"name": SIDECAR_CONTAINER}]}}
PLAIN: Object = {"spec": {}}


@pytest.mark.parametrize(
    ("pod", "container", "command"),
    [
        (PLAIN, {"name": "x", "image": "any", "command": ["a"], "args": ["b"]}, ("a", "b")),
        (PLAIN, {"name": "x", "image": "known", "args": ["b"]}, ("run", "b")),
        (PLAIN, {"name": "x", "image": "known", "command": ["a"]}, ("a",)),
        (SERVERLESS, {"name": RUNTIME_CONTAINER, "image": "known"}, ("run",)),
        (SERVERLESS, {"name": SIDECAR_CONTAINER, "image": "other", "command": ["a"]}, ("a",)),
    ],
)
def test_image_table(pod: Object, container: Object, command: tuple[str, ...]) -> None:
    assert ImageTable({"known": ("run",)}).resolve(pod, container) == Program(command)


def test_built_in_images_and_entries_with_a_directory() -> None:
    table = ImageTable({ECHO_IMAGE: Program(("mine",), Path("/there"))})
    assert table.resolve(PLAIN, {"name": "x", "image": SIDECAR_IMAGE}).command[-2:] == ("-m", "sidecar")
    assert table.resolve(PLAIN, {"name": "x", "image": ECHO_IMAGE}) == Program(("mine",), Path("/there"))


def test_unknown_image_of_a_serverless_runtime_is_substituted() -> None:
    program = ImageTable().resolve(SERVERLESS, {"name": RUNTIME_CONTAINER, "image": "model:1", "args": ["--big"]})
    assert program.substituted
    assert program.command[-2:] == ("-m", "framework.echo")


@pytest.mark.parametrize(
    ("pod", "name"), [(PLAIN, RUNTIME_CONTAINER), (SERVERLESS, "other"), (SERVERLESS, SIDECAR_CONTAINER)]
)
def test_other_unknown_images_are_errors_that_say_what_to_do(pod: Object, name: str) -> None:
    with pytest.raises(UnknownImageError, match="model:1: not found") as caught:
        ImageTable().resolve(pod, {"name": name, "image": "model:1"})
    assert "--image model:1=COMMAND" in caught.value.hint


def test_commands_of_the_user_win() -> None:
    table = ImageTable({"known": ["run"]}, sidecar_command=["my-sidecar"], framework_command=["my-framework", "-v"])
    here = Path.cwd()
    sidecar = {"name": SIDECAR_CONTAINER, "image": SIDECAR_IMAGE}
    runtime = {"name": RUNTIME_CONTAINER, "image": "known", "command": ["x"], "args": ["y"]}
    assert table.resolve(SERVERLESS, sidecar) == Program(("my-sidecar",), here)
    assert table.resolve(SERVERLESS, runtime) == Program(("my-framework", "-v"), here)
    assert table.resolve(PLAIN, runtime) == Program(("x", "y"))


def test_a_program_of_the_platforms_own_gets_the_files_that_it_names() -> None:
    """A pod's command gets none: user code must not choose what of this machine it sees."""
    shell = shutil.which("sh")
    table = ImageTable({"known": ["sh", "/opt/model", "relative"]}, framework_command=["/opt/worker"])
    named = table.resolve(PLAIN, {"name": "x", "image": "known", "args": ["/etc/passwd"]})
    assert (named.command, named.needs) == (
        ("sh", "/opt/model", "relative", "/etc/passwd"),
        (Path("/opt/model"), Path(shell or "")),
    )
    assert table.resolve(SERVERLESS, {"name": RUNTIME_CONTAINER}).needs == (Path("/opt/worker"),)
    assert table.resolve(PLAIN, {"name": "x", "command": ["/bin/sh", "/opt/model"]}).needs == ()


def test_mounts_are_bound_where_possible_and_moved_elsewhere() -> None:
    assert empty_dirs(POD) == ["work", "shm"]
    directories = {"work": Path("/v/work"), "shm": Path("/v/shm")}
    mounts = [
        {"name": "work", "mountPath": "/data/sub/"},
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "work", "mountPath": "/dev"},
    ]
    found = container_mounts(POD, {"volumeMounts": mounts}, directories, lambda path: path.startswith("/dev"))
    assert found == Mounts(
        # Parents first: what is mounted on a child would be hidden otherwise.
        binds=((Path("/v/work"), Path("/dev")), (Path("/v/shm"), Path("/dev/shm"))),
        moved=(("/data/sub", Path("/v/work")),),
    )


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        ({"name": "disk", "mountPath": "/d"}, r'"disk" \(persistentVolumeClaim\) is not supported'),
        ({"name": "none", "mountPath": "/d"}, r'"none" \(nothing\) is not supported'),
        ({"name": "work", "mountPath": "/d", "subPath": "x"}, '"work": subPath is not supported'),
    ],
)
def test_mounts_that_are_not_supported(mount: Object, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        container_mounts(POD, {"volumeMounts": [mount]}, {"work": Path("/v/work")}, lambda path: True)


def test_bindable(tmp_path: Path) -> None:
    needed = tmp_path / "a/needed"
    needed.mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "file").touch()
    verdicts = {name: bindable(str(tmp_path / name), [needed]) for name in ("a", "a/needed", "b", "file", "absent")}
    assert verdicts == {"a": False, "a/needed": False, "b": True, "file": False, "absent": False}


HTTP_CONTAINER: Object = {
    "name": "c",
    "ports": [{"name": "web", "containerPort": 80}],
    "startupProbe": {"httpGet": {"path": "healthz", "port": 8091}, "periodSeconds": 1, "failureThreshold": 30},
    "readinessProbe": {"tcpSocket": {"port": "web"}, "initialDelaySeconds": 2, "successThreshold": 2},
    "livenessProbe": {"exec": {"command": ["true"]}, "timeoutSeconds": 5},
}


def test_probes() -> None:
    assert called_ports([HTTP_CONTAINER, {"name": "d"}]) == {80, 8091}
    probes = container_probes(HTTP_CONTAINER, {80: 40080, 8091: 48091})
    assert probes["startup"].action == HttpGet("http://127.0.0.1:48091/healthz", shown="http://127.0.0.1:8091/healthz")
    assert probes["readiness"].action == TcpSocket(40080, 80)
    assert probes["liveness"].action == Exec(("true",))
    assert (probes["readiness"].initial_delay_s, probes["readiness"].success_threshold) == (2, 2)
    assert (probes["liveness"].period_s, probes["liveness"].timeout_s, probes["liveness"].failure_threshold) == (
        10,
        5,
        3,
    )


def test_a_startup_probe_gives_a_program_the_time_of_all_its_failures() -> None:
    assert container_probes(HTTP_CONTAINER, {})["startup"].patience_s == 30


@pytest.mark.parametrize(
    "probe", [{"httpGet": {"port": "nope"}}, {"grpc": {"port": 1}}, {"exec": {}}], ids=["port name", "grpc", "empty"]
)
def test_probes_that_are_not_supported(probe: Object) -> None:
    with pytest.raises(ConfigError, match="container c: a probe"):
        container_probes({"name": "c", "livenessProbe": probe}, {})


def test_unknown_port_name() -> None:
    assert port_number(HTTP_CONTAINER, 5) == 5
    with pytest.raises(ConfigError, match='"db", which is not among its ports'):
        port_number(HTTP_CONTAINER, "db")


@pytest.mark.parametrize(
    ("start", "results", "verdicts"),
    [
        (False, "sfffs", [False, False, False, False, False]),
        (False, "ssff", [False, True, True, True]),
        (False, "ssfffss", [False, True, True, True, False, False, True]),
        (True, "ffsfff", [True, True, True, True, True, False]),
    ],
)
def test_probe_count(start: bool, results: str, verdicts: list[bool]) -> None:
    """Two successes make it pass, three failures make it fail."""
    count, found = ProbeCount(passing=start), []
    for result in results:
        count = count.add(result == "s", 2, 3)
        found.append(count.passing)
    assert found == verdicts
