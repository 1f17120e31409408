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

AT_ONCE = ("-n", "2")
"""Two tests at a time, for those that start no process."""

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
    session.run("pytest", "-m", "e2e", *session.posargs)


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
def load(session: nox.Session) -> None:
    """The platform under callers, a platform for each number of workers: `nox -s load -- --quick`."""
    install(session)
    session.run("python", "-m", "scenarios.load", *session.posargs)


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
