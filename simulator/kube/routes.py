"""What each verb on each resource does: from the checked request to the store and back."""

from typing import Any

import msgspec
from aiohttp import web

from simulator.kube.discovery import document
from simulator.kube.kinds import Object
from simulator.kube.paths import ResourcePath, Resources, parse_path
from simulator.kube.requests import (
    ListOptions,
    check_accepts_json,
    check_envelope,
    check_no_dry_run,
    list_options,
    read_delete_options,
    read_merge_patch,
    read_object,
)
from simulator.kube.status import ApiFailure, bad_request, method_not_allowed, no_such_resource, not_found, success
from simulator.kube.store import ResourceStore
from simulator.kube.strategy import merge_patch
from simulator.kube.watching import WatchStream, error_event

HEALTH_PATHS = ("/healthz", "/readyz", "/livez")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class KubeRoutes:
    """The API over one store. `watches` are the streams that are open."""

    def __init__(self, store: ResourceStore) -> None:
        self._store = store
        self.watches: set[WatchStream] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request; a failure becomes its Status object."""
        try:
            return await self._answer(request)
        except ApiFailure as failure:
            return json_response(failure.body, failure.code)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if _path_of(request) in HEALTH_PATHS:
            return web.Response(text="ok")
        path = parse_path(_path_of(request), self._resources())
        if path is None:
            return self._outside_resources(request)
        check_accepts_json(request.headers.get("Accept", ""))
        if request.method not in ("GET", "HEAD"):
            check_no_dry_run(request.query)
        if path.name is None:
            return await self._collection(request, path)
        if path.subresource is None:
            return await self._object(request, path)
        return await self._subresource(request, path)

    def _resources(self) -> Resources:
        return {(kind.group, kind.version, kind.plural): kind for kind in self._store.kinds}

    def _outside_resources(self, request: web.Request) -> web.Response:
        found = document(_path_of(request), self._store.kinds)
        if found is not None:
            if request.method not in ("GET", "HEAD"):
                raise method_not_allowed(None, request.method)
            return json_response(found)
        built_in = {kind.group for kind in self._store.kinds if kind.group and not kind.custom}
        match _path_of(request).strip("/").split("/"):
            case ["api", *_]:
                raise no_such_resource()
            case ["apis", group, *_] if group in built_in:
                raise no_such_resource()
        return web.Response(text="404 page not found\n", status=404)

    async def _collection(self, request: web.Request, path: ResourcePath) -> web.StreamResponse:
        kind = path.kind
        if request.method in ("GET", "HEAD"):
            options = list_options(kind, request.query)
            if options.watch:
                return await self._watch(request, path, options)
            return json_response(self._list(path, options))
        if request.method == "POST" and (path.namespace is not None or not kind.namespaced):
            obj = await read_object(request, kind, path.namespace, None)
            return json_response(self._store.create(kind, obj, path.namespace), 201)
        if request.method in ("PUT", "PATCH") and kind.custom:
            raise bad_request("name must be provided")
        raise method_not_allowed(kind, _VERBS.get(request.method, ""))

    async def _object(self, request: web.Request, path: ResourcePath) -> web.Response:
        kind, name = path.kind, path.name or ""
        match request.method:
            case "GET" | "HEAD":
                return json_response(self._store.get(kind, name, path.namespace))
            case "PUT":
                obj = await read_object(request, kind, path.namespace, name)
                return json_response(self._store.update(kind, obj, path.namespace))
            case "PATCH":
                merged = await self._merged(request, path)
                return json_response(self._store.update(kind, merged, path.namespace))
            case "DELETE":
                options = await read_delete_options(request)
                obj, gone = self._store.delete(kind, name, path.namespace, options)
                as_object = kind.returns_deleted or not gone
                return json_response(obj if as_object else success(kind, name, obj["metadata"]["uid"]))
        raise method_not_allowed(kind, _VERBS.get(request.method, ""))

    async def _subresource(self, request: web.Request, path: ResourcePath) -> web.Response:
        kind, name = path.kind, path.name or ""
        if path.subresource != "status" or not kind.has_status:
            raise not_found(kind, name) if kind.custom else no_such_resource()
        match request.method:
            case "GET" | "HEAD":
                return json_response(self._store.get(kind, name, path.namespace))
            case "PUT":
                obj = await read_object(request, kind, path.namespace, name)
                return json_response(self._store.update_status(kind, obj, path.namespace))
            case "PATCH":
                merged = await self._merged(request, path)
                return json_response(self._store.update_status(kind, merged, path.namespace))
        raise method_not_allowed(kind, _VERBS.get(request.method, ""))

    async def _merged(self, request: web.Request, path: ResourcePath) -> Object:
        """The stored object with the request's merge patch applied."""
        patch = await read_merge_patch(request, path.kind)
        old = self._store.get(path.kind, path.name or "", path.namespace)
        return check_envelope(merge_patch(old, patch), path.kind, path.namespace, path.name)

    def _list(self, path: ResourcePath, options: ListOptions) -> Object:
        kind = path.kind
        objects = self._store.list(kind, path.namespace, options.selector)
        return {
            "kind": f"{kind.kind}List",
            "apiVersion": kind.api_version,
            "metadata": {**({"continue": ""} if kind.custom else {}), "resourceVersion": str(self._store.version)},
            "items": objects if kind.custom else [_untyped(obj) for obj in objects],
        }

    async def _watch(self, request: web.Request, path: ResourcePath, options: ListOptions) -> web.StreamResponse:
        try:
            stream = WatchStream(self._store, path.kind, path.namespace, options)
        except ApiFailure as failure:
            return web.Response(body=error_event(failure), content_type="application/json")
        self.watches.add(stream)
        try:
            return await stream.send(request)
        finally:
            self.watches.discard(stream)


def json_response(body: Any, status: int = 200) -> web.Response:
    """An answer in JSON."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def _path_of(request: web.Request) -> str:
    """The path within the API, below what leads to it on this server."""
    return f"/{request.match_info['path']}"


def _untyped(obj: Object) -> Object:
    """An item of a built-in kind's list, which does not repeat the kind."""
    return {name: value for name, value in obj.items() if name not in ("kind", "apiVersion")}
