"""A framework whose handler always fails, for scenarios: `python -m scenarios.failing_worker`."""

from framework.contract import InvocationRequest
from framework.server import run


def handle(request: InvocationRequest) -> None:
    """Fail as user code does."""
    raise RuntimeError(f"out of memory while handling {request.invocation_id}")


if __name__ == "__main__":
    run(handle)
