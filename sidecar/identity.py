"""Whether a dispatch is meant for this worker (S19, S20): pure."""

from sidecar.config import Config
from sidecar.messages import WorkerDispatchMessage
from sidecar.subjects import SubjectError, dispatch_token, normalise_request_id


class Identity:
    """What the dispatches of one worker say of it.

    A worker publishes to its own pool's subjects only. Whoever listens elsewhere would wait in vain, so a dispatch
    that names other subjects is refused rather than answered where nobody looks.
    """

    def __init__(self, config: Config) -> None:
        self._pool = config.request_id
        self._name = config.worker_name
        self._namespace = config.worker_namespace
        self._result_subjects = ("", config.subjects.result(self._pool))
        self._metrics_subjects = ("", config.subjects.metrics(self._pool))

    def mismatch(self, dispatch: WorkerDispatchMessage) -> str:
        """What in a dispatch names another worker, or subjects of another platform; empty when it is ours."""
        if (
            dispatch.serverless_request_id == self._pool
            and dispatch.worker_name == self._name
            and dispatch.worker_namespace == self._namespace
        ):
            return self._subject_mismatch(dispatch)
        try:
            pool = normalise_request_id(dispatch.serverless_request_id)
        except SubjectError as error:
            return str(error)
        for what, found, ours in (
            ("serverlessRequestID", pool, self._pool),
            ("workerName", dispatch_token(dispatch.worker_name), dispatch_token(self._name)),
            ("workerNamespace", dispatch.worker_namespace.strip(), self._namespace),
        ):
            if found != ours:
                return f"dispatched to {what} {found!r}, this worker has {ours!r}"
        return self._subject_mismatch(dispatch)

    def _subject_mismatch(self, dispatch: WorkerDispatchMessage) -> str:
        for what, found, ours in (
            ("resultSubject", dispatch.result_subject, self._result_subjects),
            ("metricsSubject", dispatch.metrics_subject, self._metrics_subjects),
        ):
            if found not in ours:
                return f"{what} is {found!r}, this worker publishes to {ours[1]!r} only"
        return ""
