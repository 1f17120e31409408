"""How every part of the platform talks to the Kubernetes API, be it the embedded one or that of a real cluster.

Objects go in and come out as plain JSON (`Object`); lightkube carries the kubeconfig, TLS and the protocol.
Whatever goes wrong comes out as a `KubeError` whose message is the server's own, or names the server that is silent.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2
from lightkube import ALL_NS, ApiError, AsyncClient, KubeConfig, SingleConfig
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.models import User
from lightkube.core.resource import ApiInfo, ResourceDef
from lightkube.generic_resource import GenericNamespacedStatus, create_global_resource, create_namespaced_resource
from lightkube.types import PatchType

from simulator.errors import (
    AlreadyExistsError,
    ClusterAwayError,
    ConflictError,
    EnvironmentMissing,
    ExpiredError,
    InvalidError,
    KubeError,
    NotFoundError,
)
from simulator.kube.closing_transport import ClosingTransport
from simulator.kube.kinds import Kind, Object

REQUEST_TIMEOUT_S = 10.0
"""For one answer; a watch may be silent for as long as the server keeps it open."""

WATCH_TIMEOUT_S = 300
"""The server ends a watch after this time, so that a connection that died unnoticed is noticed."""

Listing = tuple[list[Object], str]
"""Objects, and the resource version of the list."""

_ERRORS_BY_REASON: dict[str, type[KubeError]] = {
    "NotFound": NotFoundError,
    "AlreadyExists": AlreadyExistsError,
    "Conflict": ConflictError,
    "Invalid": InvalidError,
    "BadRequest": InvalidError,
}
_ANOTHER_OBJECT = "metadata.uid: Invalid value"
_ERRORS_BY_CODE: dict[int, type[KubeError]] = {
    400: InvalidError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidError,
}


class Cluster:
    """A connection to the cluster that a kubeconfig's current context names; an async context manager.

    Where a method takes `namespace` and it is None, a namespaced object is looked for in the kubeconfig's namespace;
    `list` and `watch` then cover all namespaces. Every method may raise KubeError.
    """

    def __init__(self, kubeconfig: Path, *, field_manager: str) -> None:
        """Read the kubeconfig; nothing is sent yet.

        Raises:
            EnvironmentMissing: the file is not there or is no kubeconfig.
        """
        config = _read_kubeconfig(kubeconfig)
        # No trust_env: a proxy of the environment cannot reach an API on this machine.
        self._client: Any = AsyncClient(
            config,
            timeout=httpx2.Timeout(REQUEST_TIMEOUT_S),
            field_manager=field_manager,
            trust_env=False,
            transport=_transport(config),
        )
        self._url = _address(self._client.config.cluster.server)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.close()

    @property
    def url(self) -> str:
        """Address of the API server, fit to be shown: without a path, which may hold a secret."""
        return self._url

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """Return one object. Raises NotFoundError."""
        with self._kube_errors():
            return dict(await self._client.get(_resource(kind), name, **_scope(kind, namespace)))

    async def list(
        self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        """Return the objects of a namespace, or of all, that carry all `labels`."""
        objects, _ = await self.list_with_version(kind, namespace, labels)
        return objects

    async def list_with_version(
        self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Listing:
        """As `list`, with the resource version from which a watch continues without a gap."""
        with self._kube_errors():
            answer = self._client.list(
                _resource(kind), **_scope(kind, namespace or ALL_NS), labels=dict(labels) if labels else None
            )
            # The items of a built-in kind's list come without these two.
            typed = {"apiVersion": kind.api_version, "kind": kind.kind}
            objects = [typed | item async for item in answer]
            return objects, answer.resourceVersion

    async def create(self, kind: Kind, obj: Object) -> Object:
        """Create the object in its own `metadata.namespace` and return it. Raises AlreadyExistsError, InvalidError."""
        with self._kube_errors():
            return dict(await self._client.create(_resource(kind)(obj)))

    async def update(self, kind: Kind, obj: Object) -> Object:
        """Replace all of the object but its status. Raises ConflictError (it changed meanwhile), NotFoundError."""
        with self._kube_errors():
            return dict(await self._client.replace(_resource(kind)(obj)))

    async def update_status(self, kind: Kind, obj: Object) -> Object:
        """Replace the object's status. Raises ConflictError (it changed meanwhile), NotFoundError."""
        with self._kube_errors():
            status = _resource(kind).Status(obj)
            return dict(await self._client.replace(status, obj["metadata"]["name"]))

    async def patch(self, kind: Kind, name: str, patch: Object, namespace: str | None = None) -> Object:
        """Merge `patch` into the object (RFC 7386: None removes a field, a list is replaced whole)."""
        return await self._merge(_resource(kind), name, patch, _scope(kind, namespace))

    async def patch_status(self, kind: Kind, name: str, patch: Object, namespace: str | None = None) -> Object:
        """Merge `patch`, which holds a `status`, into the object's status."""
        return await self._merge(_resource(kind).Status, name, patch, _scope(kind, namespace))

    async def apply(self, kind: Kind, obj: Object, *, manager: str, force: bool = False) -> Object:
        """Make the object, or make its fields what `obj` says of them, as the field manager `manager`; return it whole.

        Fields that the manager applied before and leaves out now go; those of others stay. With `force` it takes a
        field from whoever else set it.

        Raises:
            ConflictError: another manager has a field and `force` was not said, or `obj` names the uid of an object
                that is there no more, be there another one of its name or not.
            InvalidError: it breaks a rule.
        """
        with self._kube_errors():
            body = _resource(kind)(obj)
            return dict(await self._client.apply(body, field_manager=manager, force=force))

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, *, grace_period_s: int | None = None
    ) -> None:
        """Delete the object; None leaves the grace period (seconds) to the object. Raises NotFoundError."""
        with self._kube_errors():
            await self._client.delete(_resource(kind), name, **_scope(kind, namespace), grace_period=grace_period_s)

    async def bind(self, pod: Object, node: str) -> None:
        """Assign the pod to the node. Raises ConflictError (it has one, or is going), NotFoundError."""
        metadata = pod["metadata"]
        identity = {name: metadata[name] for name in ("name", "namespace", "uid")}
        binding = {"metadata": identity, "target": {"apiVersion": "v1", "kind": "Node", "name": node}}
        with self._kube_errors():
            resource = _binding_resource()
            body = resource({"apiVersion": "v1", "kind": "Binding", **binding})
            await self._client.create(body, metadata["name"], namespace=metadata["namespace"])

    async def watch(
        self, kind: Kind, namespace: str | None, resource_version: str, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[tuple[str, Object]]:
        """Yield (`ADDED` | `MODIFIED` | `DELETED`, object) for each change after `resource_version`, without end.

        A stream that the server ends is opened again where it stopped.

        Raises:
            ExpiredError: the server no longer remembers that far back.
            KubeError: the connection broke.
        """
        with self._kube_errors():
            events = self._client.watch(
                _resource(kind),
                **_scope(kind, namespace or ALL_NS),
                labels=dict(labels) if labels else None,
                resource_version=resource_version,
                server_timeout=WATCH_TIMEOUT_S,
            )
            async with contextlib.aclosing(events):
                async for change, obj in events:
                    yield change, dict(obj)

    async def _merge(self, resource: Any, name: str, patch: Object, scope: dict[str, str | None]) -> Object:
        with self._kube_errors():
            return dict(await self._client.patch(resource, name, patch, **scope, patch_type=PatchType.MERGE))

    @contextlib.contextmanager
    def _kube_errors(self) -> Iterator[None]:
        try:
            yield
        except ApiError as error:
            raise _kube_error(error.status.code or 0, error.status.reason or "", error.status.message or "") from error
        except httpx2.HTTPStatusError as error:
            code = error.response.status_code
            raise _kube_error(code, "", f"{self._url} answered with HTTP status {code}") from error
        except httpx2.HTTPError as error:
            raise ClusterAwayError(
                f"no answer from the Kubernetes API at {self._url}: {str(error) or type(error).__name__}; "
                "check that it runs and that the kubeconfig names it"
            ) from error


def _read_kubeconfig(path: Path) -> SingleConfig:
    try:
        config = _parsed(path).get()
    except Exception as error:  # of a file that is no kubeconfig lightkube raises whatever comes first
        problem = " ".join(str(error).split()) or type(error).__name__
    else:
        if config is not None:
            return config
        problem = "it has no current context"
    raise EnvironmentMissing(
        f"cannot use the kubeconfig {path}: {problem}; name one whose current context is the cluster"
    )


def _parsed(path: Path) -> KubeConfig:
    try:
        return KubeConfig.from_file(path)
    except (AttributeError, KeyError, TypeError) as error:  # YAML of another form
        raise ValueError("it is empty or no kubeconfig") from error


def _transport(config: SingleConfig) -> ClosingTransport:
    """As lightkube would make it: it hands on to its own transport alone what the kubeconfig says of TLS."""
    return ClosingTransport(verify_cluster(config.cluster, config.user or User(), config.abs_file, trust_env=False))


def _address(server: str) -> str:
    parts = urlsplit(server)
    return f"{parts.scheme}://{parts.netloc}"


def _kube_error(code: int, reason: str, message: str) -> KubeError:
    if code == HTTPStatus.GONE:
        return ExpiredError(message)
    if reason == "Invalid" and _ANOTHER_OBJECT in message:
        return ConflictError(message)  # which is how a patch or an apply is refused whose uid is another's
    return _ERRORS_BY_REASON.get(reason, _ERRORS_BY_CODE.get(code, KubeError))(message)


@cache
def _resource(kind: Kind) -> Any:
    """lightkube's class for a kind; it is registered once per process."""
    create = create_namespaced_resource if kind.namespaced else create_global_resource
    return create(kind.group, kind.version, kind.kind, kind.plural)


@cache
def _binding_resource() -> Any:
    """lightkube's class for the subresource by which a pod gets its node."""

    class Binding(GenericNamespacedStatus):
        _api_info = ApiInfo(
            resource=ResourceDef("", "v1", "Binding"),
            parent=ResourceDef("", "v1", "Pod"),
            plural="pods",
            verbs=["post"],
            action="binding",
        )

    return Binding


def _scope(kind: Kind, namespace: str | None) -> dict[str, str | None]:
    return {"namespace": namespace} if kind.namespaced else {}
