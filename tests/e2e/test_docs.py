"""Every shell command of the README and of docs/ is run here, as a reader would: in order, in one platform's company.

A block that starts with `unitsim up` runs in the background until the page ends; the others must succeed. Ports are
moved out of the way of whatever else runs on the machine; the text is otherwise taken as it stands.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh(?P<tag>[^\n]*)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in (ROOT / "README.md", *ROOT.glob("docs/*.md"))
    if re.search(r"^```sh(?! kind)", page.read_text(encoding="utf-8"), re.MULTILINE)
)
"""Pages whose commands run here; those of docs/kind.md run in tests/install, with stand-ins for the tools."""

EXPECTED = {
    "README.md": [
        "200 succeeded by sd-webui-template",
        "accepted as message",
        '"invocationID":"robot-2"',
        "no dead letters",
        '"phase":""',
        '"payload":{"text":"good morning"}',
        "no-such-pool",
        "2 passed, 0 failed",
    ],
    "docs/framework.md": ['"statusCode":1000', '"error":"no GPU"'],
    "docs/api.md": [
        '"queueConnected":true',
        '"phase":""',
        '"duplicate":false',
        '"state":"succeeded"',
        '"payload":{"text":"hi"}',
        '"image":"example/tts:4"',
    ],
    "docs/cli.md": ['"path": "/generate"', '"name": "async-echo", "passed": true'],
    "docs/dead-letters.md": ["no dead letters"],
    "docs/pools.md": [
        '"templateOnly":true',
        "200 succeeded by unit-tts-worker-",
        '"name":"unit-tts-worker-',
        '"phase":"Empty"',
    ],
}


@dataclass(frozen=True)
class Block:
    tag: str
    code: str

    @property
    def is_platform(self) -> bool:
        return self.code.startswith("unitsim up")


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(match["tag"].strip(), match["code"]) for match in BLOCK.finditer(text)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**extra: str) -> dict[str, str]:
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | extra


@contextmanager
def background(code: str, env: dict[str, str], ready: str) -> Iterator[str]:
    """Run a block until the end of the `with` block; yields what it printed up to a line with `ready`."""
    shell = subprocess.Popen(
        ["bash", "-c", code],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    output, shown = shell.stdout, ""
    assert output is not None
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in chain(output, [""]):
            lines.put(line)

    reader = Thread(target=read, daemon=True)
    reader.start()
    try:
        while ready not in shown:
            line = lines.get(timeout=40)
            shown += line
            assert line, f"{code!r} ended: {shown}"
        yield shown
    finally:
        os.killpg(shell.pid, signal.SIGINT)
        try:
            shell.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait(10)
            raise
        reader.join(10)
        output.close()


def run_block(code: str, env: dict[str, str]) -> str:
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code], env=env, capture_output=True, text=True, timeout=90, check=False
    )
    assert ended.returncode == 0, f"{code}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def test_there_are_pages_with_commands() -> None:
    assert set(EXPECTED) <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_commands_of(page: str) -> None:
    port = str(free_port())
    env = environment(UNITSIM_API_PORT=port, UNITSIM_API_URL=f"http://127.0.0.1:{port}")
    with ExitStack() as running:
        blocks = [
            Block("", block.code.replace(":8080", f":{port}").replace("--api-port 0", f"--api-port {port}"))
            for block in blocks_of(page)
            if not block.tag
        ]
        for code in [block.code for block in blocks if block.is_platform] or ["unitsim up --pool sd-webui"]:
            running.enter_context(background(code, env, '"api"' if "--json" in code else "Ctrl-C"))
        shown = run_block("".join(block.code for block in blocks if not block.is_platform), env)
    for text in EXPECTED.get(page, []):
        assert text in shown


def test_the_four_processes_by_hand(socket_directory: Path, tmp_path: Path) -> None:
    blocks = {
        block.tag.removeprefix("by-hand "): block.code for block in blocks_of("README.md") if "by-hand" in block.tag
    }
    assert list(blocks) == ["server", "framework", "sidecar", "publish"]
    nats_port, health_port = str(free_port()), str(free_port())
    socket_path = f"{socket_directory}/framework.sock"
    env = environment(SERVERLESS_FRAMEWORK_SOCKET_PATH=socket_path, TMPDIR=str(tmp_path))

    def moved(name: str) -> str:
        code = blocks[name].replace("4222", nats_port).replace("8091", health_port)
        return code.replace("/tmp/serverless-framework/framework.sock", socket_path)

    with (
        background(moved("server"), env, "Server is ready"),
        background(moved("sidecar"), env, "sidecar starts"),
        background(moved("framework"), env, "framework listens"),
    ):
        result = run_block(moved("publish"), env)
    assert '"invocationID":"by-hand-1"' in result
    assert '"state":"succeeded"' in result
    assert '"payload":{"prompt":"draw a robot"}' in result


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (
            "README.md",
            [
                "gpuunit.runtime.lokiwager.io/sd-webui condition met",
                "deployment.apps/sd-webui",
                "runtime.serverless.dispatch.sd-webui.sd-webui\n",
                "sidecar",
            ],
        ),
        (
            "docs/cli.md",
            [
                "gpuunit.runtime.lokiwager.io/sd-webui-template",
                "phase: Ready",
                "runtime.serverless.dispatch.sd-webui.sd-webui-template",
                "serverless-sidecar:",
            ],
        ),
        ("docs/kubelet.md", ["sidecar", "framework.sock", "GOOD MORNING"]),
    ],
)
def test_kubectl_commands(page: str, expected: list[str], kubectl_binary: Path) -> None:
    [block] = [block for block in blocks_of(page) if block.tag == "kubectl"]
    port = str(free_port())
    env = environment(UNITSIM_API_PORT=port)
    with background("unitsim up --pool sd-webui --json", env, "kubeconfig") as addresses:
        reader = {"PATH": f"{kubectl_binary.parent}:{env['PATH']}", "KUBECONFIG": json.loads(addresses)["kubeconfig"]}
        shown = run_block(block.code, env | reader)
    for text in expected:
        assert text in shown


def test_make_demo_and_make_test_are_what_the_readme_says() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for target, command in (("demo", "unitsim demo"), ("test", "nox --no-venv")):
        assert f"make {target}" in readme
        planned = subprocess.run(
            ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True
        )
        assert command in planned.stdout
