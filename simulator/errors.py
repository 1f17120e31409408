"""Every error that the simulator raises for a person to read.

SimulatorError
├── UsageError             what was asked for cannot be done            exit 2
├── NothingSelected        the command line selects nothing to do      exit 5
├── EnvironmentMissing     something must be installed or freed first   exit 4
│   └── PortTakenError
├── PlatformError          a part of the platform failed or stopped     exit 1
│   └── WaitTimeoutError   something did not become true in time
├── KubeError              the Kubernetes API refused                   exit 1
│   ├── ClusterAwayError
│   ├── NotFoundError
│   ├── AlreadyExistsError
│   ├── ConflictError
│   ├── ExpiredError
│   └── InvalidError
└── ScenarioFailure        an expectation of a scenario did not hold    exit 1
"""


class SimulatorError(Exception):
    """Base of all; the text is one or two lines that say what was wrong and what to do next."""

    exit_code: int = 1


class UsageError(SimulatorError):
    """The command line, a file or a name the user gave is wrong."""

    exit_code = 2


class NothingSelected(SimulatorError):  # noqa: N818 - reads as what it says
    """There is nothing to run."""

    exit_code = 5


class EnvironmentMissing(SimulatorError):  # noqa: N818 - reads as what it says
    """A program, a permission or a port that the simulator needs is not there."""

    exit_code = 4


class PortTakenError(EnvironmentMissing):
    """Another process listens on the wanted port."""


class PlatformError(SimulatorError):
    """A part of the platform failed, or stopped when it should run."""


class WaitTimeoutError(PlatformError):
    """What was waited for did not happen in time; the message holds the last observed state."""


class KubeError(SimulatorError):
    """The Kubernetes API answered a request with a failure; the message is the server's own."""


class ClusterAwayError(KubeError):
    """The Kubernetes API gave no answer; whether a change was made is not known."""


class NotFoundError(KubeError):
    """The object does not exist (404)."""


class AlreadyExistsError(KubeError):
    """An object of this name exists (409 AlreadyExists)."""


class ConflictError(KubeError):
    """The object changed since it was read (409 Conflict)."""


class ExpiredError(KubeError):
    """The server no longer remembers the resource version that was asked for (410): list again."""


class InvalidError(KubeError):
    """The object breaks its schema or a rule (400, 422)."""


class ScenarioFailure(SimulatorError):  # noqa: N818 - an outcome, not a fault of the program
    """An expectation of a scenario did not hold."""
