"""What a client asks before it asks for objects: health, versions, what is served, and how that looks."""

from aiohttp import web

from simulator.kube.answers import answer, json_response, text_response
from simulator.kube.discovery import AGGREGATED, aggregated, built_in_groups, document, entity_tag, wants_aggregated
from simulator.kube.negotiation import JSON, check_available, negotiate
from simulator.kube.registry import Registry
from simulator.kube.schema import openapi
from simulator.kube.schema.openapi_protobuf import MEDIA_TYPE, in_protobuf
from simulator.kube.status import method_not_allowed, no_such_resource

HEALTH_PATHS = ("/healthz", "/readyz", "/livez")
_HEALTH_CHECKS = ("ping", "log", "etcd")
"""What can be asked for by itself, below a path of health."""
_OPENAPI_3 = "/openapi/v3"
_HEALTH_CHECK_PATHS = {f"{path}/{check}" for path in HEALTH_PATHS for check in _HEALTH_CHECKS}
_ROOT_PATHS = ("/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/")
_OTHER_PATHS = (*HEALTH_PATHS, "/openapi/v2", _OPENAPI_3, f"{_OPENAPI_3}/", "/version")


def inform(request: web.Request, registry: Registry) -> web.Response:
    """Answer a request that is not about objects.

    Raises:
        ApiFailure: 404 or 405.
    """
    path = request.path
    accept = request.headers.get("Accept", "")
    if path in HEALTH_PATHS or path in _HEALTH_CHECK_PATHS:
        return text_response("ok")
    if path.startswith("/openapi/"):
        return _openapi(path, accept, registry)
    if path == "/":
        return json_response({"paths": _paths(registry)})
    found = document(path, registry, request.host)
    if found is None:
        return _nowhere(path, registry)
    if request.method != "GET" and path != "/apis":
        raise method_not_allowed(None, request.method)
    if path.rstrip("/") == "/version":
        check_available(accept, JSON)
        return json_response(found)
    whole = aggregated(path, registry) if wants_aggregated(accept) else None
    if whole is None:
        return answer(found, negotiate(accept, custom=not _is_built_in(path, registry)))
    tag = entity_tag(whole)
    headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "public"}
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    response = json_response(whole, headers=headers)
    response.headers["Content-Type"] = AGGREGATED
    return response


def _openapi(path: str, accept: str, registry: Registry) -> web.Response:
    if path == _OPENAPI_3:
        response = json_response(openapi.index(registry))
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
        return response
    if path == "/openapi/v2":
        if "proto-openapi.spec.v2" in accept:
            body = in_protobuf(openapi.version_2(registry))
            return web.Response(body=body, headers={"Vary": "Accept", "Content-Type": MEDIA_TYPE})
        if not _takes_json(accept):
            return web.Response(status=406)
        return json_response(openapi.version_2(registry), headers={"Vary": "Accept"})
    if not path.startswith(f"{_OPENAPI_3}/"):
        return _nowhere(path, registry)
    name = path.removeprefix(f"{_OPENAPI_3}/")
    found = openapi.document(name, registry)
    if found is not None and not _takes_json(accept):
        return web.Response(status=406)
    if found is None:
        return web.Response(status=404)
    tag = f'"{openapi.content_hash(name, registry)}"'
    return json_response(found, headers={"ETag": tag, "Vary": "Accept"})


def _takes_json(accept: str) -> bool:
    return not accept or "json" in accept or "*/*" in accept


def _nowhere(path: str, registry: Registry) -> web.Response:
    match path.strip("/").split("/"):
        case ["api", *_]:
            raise no_such_resource()
        case ["apis", group, *_] if group in built_in_groups(registry):
            raise no_such_resource()
    return text_response("404 page not found\n", 404)


def _is_built_in(path: str, registry: Registry) -> bool:
    """Whether the document of this path is about kinds that no definition made."""
    match path.strip("/").split("/"):
        case ["api", *_]:
            return True
        case ["apis", group, *_]:
            return group in built_in_groups(registry)
    return False


def _paths(registry: Registry) -> list[str]:
    kinds = {(served.kind.group, served.kind.version) for served in registry if served.kind.group}
    groups = {f"/apis/{group}" for group, _ in kinds} | {f"/apis/{group}/{version}" for group, version in kinds}
    return [*_ROOT_PATHS, *sorted(groups), *_OTHER_PATHS]
