"""What a client asks before it asks for objects: health, versions, what is served, and how that looks."""

from aiohttp import web

from simulator.kube.answers import json_response, text_response
from simulator.kube.discovery import AGGREGATED, aggregated, built_in_groups, document, entity_tag, wants_aggregated
from simulator.kube.registry import Registry
from simulator.kube.schema import openapi
from simulator.kube.status import method_not_allowed, no_such_resource

HEALTH_PATHS = ("/healthz", "/readyz", "/livez")
_OPENAPI_3 = "/openapi/v3"
_ROOT_PATHS = ("/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/")
_OTHER_PATHS = (*HEALTH_PATHS, "/openapi/v2", _OPENAPI_3, f"{_OPENAPI_3}/", "/version")


def inform(request: web.Request, registry: Registry) -> web.Response:
    """Answer a request that is not about objects.

    Raises:
        ApiFailure: 404 or 405.
    """
    path = request.path
    if path in HEALTH_PATHS:
        return text_response("ok")
    if path.startswith("/openapi/"):
        return _openapi(path, request.headers.get("Accept", ""), registry)
    if path == "/":
        return json_response({"paths": _paths(registry)})
    found = document(path, registry, request.host)
    if found is None:
        return _nowhere(path, registry)
    if request.method != "GET":
        raise method_not_allowed(None, request.method)
    whole = aggregated(path, registry) if wants_aggregated(request.headers.get("Accept", "")) else None
    if whole is None:
        return json_response(found)
    tag = entity_tag(whole)
    headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "public"}
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    response = json_response(whole, headers=headers)
    response.headers["Content-Type"] = AGGREGATED
    return response


def _openapi(path: str, accept: str, registry: Registry) -> web.Response:
    if path.rstrip("/") == _OPENAPI_3:
        response = json_response(openapi.index(registry))
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
        return response
    if path == "/openapi/v2":
        if "json" not in accept and "*/*" not in accept and accept:
            return web.Response(status=406)
        return json_response(openapi.version_2(registry), headers={"Vary": "Accept"})
    name = path.removeprefix(f"{_OPENAPI_3}/")
    found = openapi.document(name, registry)
    if found is None:
        return web.Response(status=404)
    tag = f'"{openapi.content_hash(name, registry)}"'
    return json_response(found, headers={"ETag": tag, "Vary": "Accept"})


def _nowhere(path: str, registry: Registry) -> web.Response:
    match path.strip("/").split("/"):
        case ["api", *_]:
            raise no_such_resource()
        case ["apis", group, *_] if group in built_in_groups(registry):
            raise no_such_resource()
    return text_response("404 page not found\n", 404)


def _paths(registry: Registry) -> list[str]:
    kinds = {(served.kind.group, served.kind.version) for served in registry if served.kind.group}
    groups = {f"/apis/{group}" for group, _ in kinds} | {f"/apis/{group}/{version}" for group, version in kinds}
    return [*_ROOT_PATHS, *sorted(groups), *_OTHER_PATHS]
