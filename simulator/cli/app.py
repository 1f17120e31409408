"""The commands and their flags. Each imports what it needs when it runs, so that `--help` is quick."""

import logging
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from simulator.cli import cluster_parts, dlq, kind, kube, parts
from simulator.cli.doctor import doctor
from simulator.cli.execution import run_async
from simulator.cli.flags import API_URL, ApiUrl, Json, Verbose, switch
from simulator.cli.output import Output, configure_logs
from simulator.cli.targets import LOCAL, TargetChoice
from simulator.errors import UsageError

Keep = Annotated[bool, switch(help="Leave logs and queue files behind, and say where.")]
Open = Annotated[
    bool, switch(name="--open", help="No authentication at the queue, for sidecars that cannot present credentials.")
]
Command = Annotated[str | None, Parameter(help="A program and its arguments, in any language, as one text.")]
Pairs = Annotated[list[str], switch(help="NAME=VALUE; may be repeated.")]

app = App(
    name="unitsim",
    help="A queue-first serverless GPU platform, whole, on this machine.",
    version=lambda: f"unitsim {version('gpuunit-sim')}",
    help_on_error=False,
)
app.command(dlq.app)
app.command(parts.activator)
app.command(parts.api)
app.command(cluster_parts.reconciler)
app.command(cluster_parts.issuer)
app.command(cluster_parts.results)
app.command(kube.app)
app.command(kind.app)
app.command(doctor)


@app.command
def up(
    *,
    api_port: Annotated[int, Parameter(env_var="UNITSIM_API_PORT")] = 8080,
    kube_port: int = 0,
    nats_port: int = 0,
    pool: Annotated[list[str], switch(help="Create a Ready echo unit for this pool; repeatable.")] = [],  # noqa: B006
    sidecar_command: Command = None,
    framework_command: Command = None,
    image: Annotated[list[str], switch(help="IMAGE=COMMAND: what an image runs; repeatable.")] = [],  # noqa: B006
    startup: Annotated[list[str], switch(help="IMAGE=STAGE:TIMES, such as sd:1=model-load:20s~5s; repeatable.")] = [],  # noqa: B006
    node: Annotated[list[str], switch(help="NAME[:gpus=2,cpu=8,memory=32Gi,pods=20]; repeatable.")] = [],  # noqa: B006
    pod_users: Annotated[str, Parameter(help="FIRST-LAST: users for pods, if this is root.")] = "62000-63999",
    kubeconfig: Annotated[Path | None, Parameter(help="Write the kubeconfig there, too.")] = None,
    max_concurrency: Annotated[int, Parameter(help="Calls that each worker runs at once.")] = 1,
    apis: Annotated[int, Parameter(help="API processes; each further one listens on a free port.")] = 1,
    activators: Annotated[int, Parameter(help="Activators; 0 leaves the work to `unitsim activator`.")] = 1,
    gpu_budget: Annotated[int | None, Parameter(help="GPUs that all workers may use together.")] = None,
    backlog_limit: Annotated[int, Parameter(help="Waiting invocations of a pool after which the API says 503.")] = 2000,
    open_: Open = False,
    keep: Keep = False,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Run the platform in the foreground until Ctrl-C.

    Port 0 means any free port. The addresses are printed once everything listens.

    Parameters
    ----------
    api_port
        Port of the runtime API.
    kube_port
        Port of the Kubernetes API.
    nats_port
        Port of the queue server.
    """
    from sidecar.concurrency import MAX_CONCURRENCY
    from simulator.activator.settings import ActivatorSettings
    from simulator.api.settings import ApiSettings
    from simulator.cli.kubeconfig import check_place
    from simulator.cli.up import nodes_of, run_up, startup_of, users_of
    from simulator.platform import PlatformOptions
    from simulator.ports import ensure_free

    configure_logs(logging.INFO if verbose else logging.WARNING)
    for port, flag in ((api_port, "--api-port"), (kube_port, "--kube-port"), (nats_port, "--nats-port")):
        _check_port(port, flag)
        ensure_free(port, f"choose another with {flag} (0: any free one)")
    if not 1 <= max_concurrency <= MAX_CONCURRENCY:
        raise UsageError(f"--max-concurrency {max_concurrency} must be between 1 and {MAX_CONCURRENCY}")
    if kubeconfig:
        check_place(kubeconfig)
    _check_counts(apis=apis, activators=activators, gpu_budget=gpu_budget, backlog_limit=backlog_limit)
    options = PlatformOptions(
        api_port=api_port,
        kube_port=kube_port,
        nats_port=nats_port,
        sidecar_command=_command(sidecar_command, "--sidecar-command"),
        framework_command=_command(framework_command, "--framework-command"),
        images={name: _command(text, "--image") or () for name, text in _pairs(image, "--image").items()},
        startup=startup_of(startup),
        nodes=nodes_of(node),
        pod_users=users_of(pod_users),
        max_concurrency=max_concurrency,
        activator=ActivatorSettings(gpu_budget=gpu_budget),
        api=ApiSettings(backlog_limit=backlog_limit),
        apis=apis,
        activators=activators,
        keep=keep,
        open=open_,
    )
    try:
        run_async(run_up(options, pool, kubeconfig, Output(json)))
    except KeyboardInterrupt:
        return 0  # the way in which this command is meant to end
    return 0


def _check_counts(*, apis: int, activators: int, gpu_budget: int | None, backlog_limit: int) -> None:
    for flag, value, least in (
        ("--apis", apis, 1),
        ("--activators", activators, 0),
        ("--gpu-budget", gpu_budget, 0),
        ("--backlog-limit", backlog_limit, 1),
    ):
        if value is not None and value < least:
            raise UsageError(f"{flag} {value} must be at least {least}")


@app.command
def invoke(
    pool: str,
    payload: str = "null",
    /,
    *,
    async_: Annotated[bool, switch(name="--async", help="Do not wait for the result.")] = False,
    attribute: Pairs = [],  # noqa: B006
    header: Pairs = [],  # noqa: B006
    invocation_id: Annotated[str, Parameter(help="Identity of the call; a repeated one runs once.")] = "",
    timeout: Annotated[int, Parameter(help="Budget in seconds; 0 is the API's default.")] = 0,
    api_url: ApiUrl = API_URL,
    json: Json = False,
) -> int:
    """Call a pool through a running platform and print the answer.

    Parameters
    ----------
    pool
        The pool's request ID, such as sd-webui.
    payload
        Any JSON; @FILE reads it from a file, - from standard input.
    """
    from simulator.cli.invoke import read_payload, run_invoke

    body = {
        "serverlessRequestID": pool,
        "invocationID": invocation_id,
        "mode": "async" if async_ else "sync",
        "attributes": _pairs(attribute, "--attribute"),
        "headers": _pairs(header, "--header"),
        "payload": read_payload(payload),
        "timeoutSeconds": timeout,
    }
    return run_async(run_invoke(api_url, body, Output(json)))


@app.command(name="list")
def list_(*, json: Json = False) -> int:
    """List the scenarios, one line each."""
    from simulator.scenario import installed_scenarios

    output = Output(json)
    scenarios = installed_scenarios()
    width = max((len(name) for name in scenarios), default=0)
    for name, scenario in scenarios.items():
        needs = f"  [needs {', '.join(sorted(scenario.needs))}]" if scenario.needs else ""
        output.say(f"{name:<{width}}  {scenario.summary}{needs}")
    output.result(
        [
            {"name": scenario.name, "summary": scenario.summary, "needs": sorted(scenario.needs)}
            for scenario in scenarios.values()
        ]
    )
    return 0


@app.command
def run(
    *names: str,
    all_: Annotated[bool, switch(name="--all", help="Run every scenario.")] = False,
    where: TargetChoice = LOCAL,
    timeout: Annotated[float, Parameter(help="Seconds that one scenario may take.")] = 120,
    keep: Keep = False,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Run scenarios, each on a platform of its own, or one after the other in a cluster; exit code 1 if one fails.

    One that needs a fault that is not possible on the target is skipped, with the reason.

    Parameters
    ----------
    names
        Scenarios to run, in this order; 'unitsim list' shows them.
    """
    from simulator.cli.scenario_runs import run_scenarios
    from simulator.scenario import installed_scenarios, select

    configure_logs(logging.INFO if verbose else logging.ERROR)  # the failures that a scenario provokes are no news
    known = installed_scenarios()
    if not timeout > 0:
        raise UsageError(f"--timeout {timeout:g} must be more than 0 seconds")
    if all_ and names:
        raise UsageError("name scenarios or give --all, not both")
    chosen = list(known.values()) if all_ else select(names, known)
    output = Output(json)
    return run_async(run_scenarios(chosen, where.opener(keep=keep, tell=output.complain), timeout, output))


@app.command
def demo(*, calls: int = 200, json: Json = False, verbose: Verbose = False) -> int:
    """Show the whole path once: a unit becomes Ready, a sync and an async call, events, status, and the end.

    Parameters
    ----------
    calls
        Further sync calls, for the latency figures.
    """
    from simulator.cli.demo import run_demo

    if calls < 1:
        raise UsageError("--calls must be at least 1")
    configure_logs(logging.INFO if verbose else logging.ERROR)
    return run_async(run_demo(calls, Output(json)))


def _command(text: str | None, flag: str) -> tuple[str, ...] | None:
    if text is None:
        return None
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{flag} {text!r}: {error}") from error
    if not words:
        raise UsageError(f"{flag} needs a program")
    return words


def _pairs(texts: list[str], flag: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{flag} {text!r} must have the form NAME=VALUE")
        pairs[name.strip()] = value
    return pairs


def _check_port(port: int, flag: str) -> None:
    if not 0 <= port <= 65535:
        raise UsageError(f"{flag} {port} must be between 0 and 65535")
