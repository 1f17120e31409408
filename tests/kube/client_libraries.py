"""Client libraries for Kubernetes behind one small interface, each used as its own documentation says."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import kr8s
import kubernetes
import kubernetes_asyncio
import lightkube
from kr8s.asyncio.objects import new_class
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource, get_generic_resource
from lightkube.resources.core_v1 import ConfigMap
from lightkube.types import PatchType

from simulator.kube.kinds import CONFIG_MAP, Kind, Object

NAMESPACE = "runtime-instance"
OFFICIAL: Any = kubernetes
"""It has no annotations."""
WATCH_S = 3
MERGE = "application/merge-patch+json"


class Client(Protocol):
    """What every library can do with objects of one kind."""

    async def create(self, obj: Object) -> Object: ...

    async def names(self) -> list[str]: ...

    async def patch(self, name: str, patch: Object) -> Object: ...

    async def replace(self, obj: Object) -> Object: ...

    async def delete(self, name: str) -> None: ...

    def watch(self, version: str) -> AsyncGenerator[tuple[str, str]]:
        """Type and name of each event after that version."""
        ...

    def code(self, error: Exception) -> int:
        """The HTTP status of a failure."""
        ...


class Lightkube:
    """lightkube, whose watches and calls are asynchronous."""

    failure = ApiError

    def __init__(self, kubeconfig: Path, kind: Kind) -> None:
        config = lightkube.KubeConfig.from_file(str(kubeconfig))
        self._client = lightkube.AsyncClient(config=config, namespace=NAMESPACE)
        self._type: Any = ConfigMap if kind == CONFIG_MAP else _generic(kind)

    async def create(self, obj: Object) -> Object:
        return _plain(await self._client.create(self._type.from_dict(obj)))

    async def names(self) -> list[str]:
        return [item.metadata.name async for item in self._client.list(self._type)]

    async def patch(self, name: str, patch: Object) -> Object:
        return _plain(await self._client.patch(self._type, name, patch, patch_type=PatchType.MERGE))

    async def replace(self, obj: Object) -> Object:
        return _plain(await self._client.replace(self._type.from_dict(obj)))

    async def delete(self, name: str) -> None:
        await self._client.delete(self._type, name)

    async def watch(self, version: str) -> AsyncGenerator[tuple[str, str]]:
        async with contextlib.aclosing(self._watch(version)) as events:
            async for event, obj in events:
                yield event, obj.metadata.name

    def _watch(self, version: str) -> Any:
        return self._client.watch(self._type, resource_version=version)

    def code(self, error: Exception) -> int:
        assert isinstance(error, ApiError)
        return int(error.status.code or 0)


def _generic(kind: Kind) -> Any:
    known = get_generic_resource(kind.api_version, kind.kind)  # type: ignore[no-untyped-call]
    return known or create_namespaced_resource(kind.group, kind.version, kind.kind, kind.plural)


def _plain(obj: Any) -> Object:
    shown: Object = obj.to_dict()
    return shown


class Kr8s:
    """kr8s; it has no replace, its patches say from which version they were made."""

    failure = kr8s.ServerError

    def __init__(self, api: Any, kind: Kind) -> None:
        self._api = api
        self._type: Any = new_class(kind.kind, kind.api_version, namespaced=True, plural=kind.plural)
        self._path = f"{kind.plural}.{kind.group}/{kind.version}" if kind.group else f"{kind.plural}/v1"

    async def create(self, obj: Object) -> Object:
        made = await self._type(obj, namespace=NAMESPACE, api=self._api)
        await made.create()
        return dict(made.raw)

    async def names(self) -> list[str]:
        return [item.name async for item in self._api.get(self._type, namespace=NAMESPACE)]

    async def patch(self, name: str, patch: Object) -> Object:
        found = await self._type.get(name, namespace=NAMESPACE, api=self._api)
        await found.patch(patch)
        return dict(found.raw)

    async def replace(self, obj: Object) -> Object:
        return await self.patch(obj["metadata"]["name"], obj)

    async def delete(self, name: str) -> None:
        found = await self._type.get(name, namespace=NAMESPACE, api=self._api)
        await found.delete()

    async def watch(self, version: str) -> AsyncGenerator[tuple[str, str]]:
        async with contextlib.aclosing(self._api.watch(self._path, namespace=NAMESPACE, since=version)) as events:
            async for event, obj in events:
                yield event, obj.name

    def code(self, error: Exception) -> int:
        assert isinstance(error, kr8s.ServerError)
        assert error.response is not None
        return error.response.status_code


class Asynchronous:
    """kubernetes_asyncio, with its class for custom objects and the one for the core group."""

    failure: type[Exception] = kubernetes_asyncio.client.ApiException

    def __init__(self, api: Any, kind: Kind) -> None:
        self._api = api
        self._kind = kind

    async def create(self, obj: Object) -> Object:
        return await self._call("create", body=obj)

    async def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in (await self._call("list"))["items"]]

    async def patch(self, name: str, patch: Object) -> Object:
        return await self._call("patch", name=name, body=patch, _content_type=MERGE)

    async def replace(self, obj: Object) -> Object:
        return await self._call("replace", name=obj["metadata"]["name"], body=obj)

    async def delete(self, name: str) -> None:
        await self._call("delete", name=name)

    async def watch(self, version: str) -> AsyncGenerator[tuple[str, str]]:
        function, options = _function(self._client(), kubernetes_asyncio.client, self._kind, "list")
        watch = kubernetes_asyncio.watch.Watch()
        async with watch.stream(function, **options, resource_version=version) as events:
            async for event in events:
                yield event["type"], event["raw_object"]["metadata"]["name"]

    def code(self, error: Exception) -> int:
        return int(getattr(error, "status", 0))

    def _client(self) -> Any:
        return self._api

    async def _call(self, verb: str, **options: Any) -> Object:
        function, named = _function(self._api, kubernetes_asyncio.client, self._kind, verb)
        return _as_json(self._api, await function(**named, **options))


class Synchronous(Asynchronous):
    """The official client, whose calls wait: each in a thread."""

    failure = OFFICIAL.client.ApiException

    async def _call(self, verb: str, **options: Any) -> Object:
        function, named = _function(self._api, kubernetes.client, self._kind, verb)
        return _as_json(self._api, await asyncio.to_thread(function, **named, **options))

    async def watch(self, version: str) -> AsyncGenerator[tuple[str, str]]:
        loop, events = asyncio.get_running_loop(), asyncio.Queue[tuple[str, str]]()
        function, options = _function(self._api, kubernetes.client, self._kind, "list")
        watch = OFFICIAL.watch.Watch()

        def follow() -> None:
            for event in watch.stream(function, **options, resource_version=version, timeout_seconds=WATCH_S):
                loop.call_soon_threadsafe(events.put_nowait, (event["type"], event["raw_object"]["metadata"]["name"]))

        following = asyncio.create_task(asyncio.to_thread(follow))
        try:
            while True:
                yield await events.get()
        finally:
            await following  # the server ends it in time; `watch.stop` would break the connection off


def _function(api: Any, package: Any, kind: Kind, verb: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    if not kind.custom:
        return getattr(package.CoreV1Api(api), f"{verb}_namespaced_config_map"), {"namespace": NAMESPACE}
    where = {"group": kind.group, "version": kind.version, "plural": kind.plural, "namespace": NAMESPACE}
    return getattr(package.CustomObjectsApi(api), f"{verb}_namespaced_custom_object"), where


def _as_json(api: Any, answer: Any) -> Object:
    shown: Object = api.sanitize_for_serialization(answer)
    return shown


@contextlib.asynccontextmanager
async def _kr8s_api(kubeconfig: Path) -> AsyncIterator[Any]:
    api: Any = await kr8s.asyncio.api(kubeconfig=str(kubeconfig), namespace=NAMESPACE)
    try:
        yield api
    finally:
        await api._session.aclose()  # it has no way of its own to be closed


@contextlib.asynccontextmanager
async def opened(library: str, kubeconfig: Path, kind: Kind) -> AsyncIterator[Any]:
    """A client of that library for one kind."""
    async with AsyncExitStack() as stack:
        match library:
            case "lightkube":
                client = Lightkube(kubeconfig, kind)
                stack.push_async_callback(client._client.close)
                yield client
            case "kr8s":
                yield Kr8s(await stack.enter_async_context(_kr8s_api(kubeconfig)), kind)
            case "kubernetes_asyncio":
                api = await kubernetes_asyncio.config.new_client_from_config(config_file=str(kubeconfig))
                yield Asynchronous(await stack.enter_async_context(api), kind)
            case "kubernetes":
                api = OFFICIAL.config.new_client_from_config(config_file=str(kubeconfig))
                stack.callback(api.rest_client.pool_manager.clear)  # its own `close` leaves connections open
                yield Synchronous(stack.enter_context(api), kind)
