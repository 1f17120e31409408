"""The project's chores. `nox` runs lint, types, unit and e2e; `nox -s e2e` is what another project's CI calls.

Sessions install from `requirements.lock`, by uv when it is there, else by virtualenv and pip. With `nox --no-venv` they
use the environment that nox itself runs in: `make test` does, so that everything is installed once.
"""

import nox

nox.needs_version = ">=2025.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "unit", "e2e"]
nox.options.error_on_missing_interpreters = True

AT_ONCE = ("-n", "2", "--dist", "worksteal")
"""Two tests at a time: they wait more than they work, and none may mind what else runs but those marked `alone`."""
PATIENT = ("--timeout", "180")
"""Each test's limit in seconds, where it says none: it ends what hangs, be the machine busy."""
NOTHING_CHOSEN = 5
"""What pytest ends with when none of its tests was chosen."""

KIND_CLUSTER = "gpuunit-sim-nox"
"""Not the one that a person has by `unitsim kind up`."""

PACKAGES = ("framework", "sidecar", "simulator", "fixtures", "scenarios")


def install(session: nox.Session) -> None:
    """Install the locked dependencies and the project itself."""
    if session.venv_backend == "none":
        return
    session.install("--require-hashes", "-r", "requirements.lock")
    session.install("--no-deps", "--no-build-isolation", "-e", ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, likely bugs, and who may import whom; `nox -s lint -- --fix` repairs what it can."""
    install(session)
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", *([] if "--fix" in session.posargs else ["--check"]), ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, over everything."""
    install(session)
    session.run("mypy")


@nox.session
def unit(session: nox.Session) -> None:
    """Tests that start no process."""
    install(session)
    session.run("pytest", *AT_ONCE, "-m", "not e2e", *session.posargs)


@nox.session
def e2e(session: nox.Session) -> None:
    """Tests with real processes, the scenarios among them; arguments go to pytest: `nox -s e2e -- -k sync-echo`."""
    install(session)
    good = [0, NOTHING_CHOSEN] if session.posargs else [0]
    session.run("pytest", *PATIENT, *AT_ONCE, "-m", "e2e and not alone", *session.posargs, success_codes=good)
    session.run("pytest", *PATIENT, "-m", "e2e and alone", *session.posargs, success_codes=good)


@nox.session
def bench(session: nox.Session) -> None:
    """The sidecar's speed beside a plain one and the floor of this machine: `nox -s bench -- --json`."""
    install(session)
    session.run("python", "tests/bench/sidecar.py", *session.posargs)


@nox.session
def bench_path(session: nox.Session) -> None:
    """The whole path, API to worker and back, beside a plain one and the floor: `nox -s bench_path -- --json`."""
    install(session)
    session.run("python", "tests/bench/path.py", *session.posargs)


@nox.session
def bench_kube(session: nox.Session) -> None:
    """The embedded Kubernetes API, and how long from `kubectl apply` to Ready: `nox -s bench_kube -- --json`."""
    install(session)
    session.run("python", "tests/bench/kube.py", *session.posargs)


@nox.session
def load(session: nox.Session) -> None:
    """The platform under callers, a platform for each number of workers: `nox -s load -- --quick`."""
    install(session)
    session.run("python", "-m", "scenarios.load", *session.posargs)


@nox.session
def kind(session: nox.Session) -> None:
    """Every scenario and the seed's check in a cluster of kind's, made for it: `nox -s kind -- --base IMAGE`.

    Arguments go to `unitsim kind build`. Ports 8080 and 4222 must be free. The cluster is taken away whatever happens.
    """
    install(session)
    context, kubeconfig = f"kind-{KIND_CLUSTER}", f"{session.create_tmp()}/kubeconfig"
    name, where = ("--name", KIND_CLUSTER), ("--kubeconfig", kubeconfig)
    cluster = ("--context", context, *where)
    session.run("unitsim", "doctor", "--target", "kind")
    if KIND_CLUSTER in str(session.run("kind", "get", "clusters", external=True, silent=True)).split():
        session.error(f"somebody else's run has a cluster {KIND_CLUSTER}: 'unitsim kind down --name {KIND_CLUSTER}'")
    try:
        session.run("unitsim", "kind", "up", *name, *where)
        session.run("unitsim", "kind", "build", *session.posargs)
        session.run("unitsim", "kind", "load", *name)
        # Without a node port for the queue, whose network policy then lets in the platform's pods only.
        session.run("unitsim", "kube", "install", *cluster, "--api-node-port", "30080")
        session.run("unitsim", "run", "--all", "--target", "kind", *cluster)
        seed = ("--seed-context", context, "--seed-kubeconfig", kubeconfig, "--seed-api-url", "http://127.0.0.1:8080")
        image = ("--seed-image", "localhost/gpuunit-sim/echo:dev")
        session.run("pytest", "-m", "e2e", "tests/e2e/test_seed_cluster.py", *seed, *image)
        session.run("unitsim", "kube", "uninstall", *cluster, "--yes")
    finally:
        session.run("unitsim", "kind", "down", *name, *where)


@nox.session
def lock(session: nox.Session) -> None:
    """Write requirements.lock anew from pyproject.toml; `nox -s lock -- --upgrade` takes newer versions."""
    session.install("uv")
    session.run(
        *("uv", "pip", "compile", "pyproject.toml", "--quiet", "--extra", "dev"),
        *("--universal", "--python-version", "3.11"),
        *("--generate-hashes", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
        *("--custom-compile-command", "nox -s lock", "--output-file", "requirements.lock", *session.posargs),
    )
