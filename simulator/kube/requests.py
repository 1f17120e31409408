"""What a request to the Kubernetes API carries: its body, and the parameters of a write or a delete."""

import asyncio
from collections.abc import Mapping
from typing import Literal

from aiohttp import web

from simulator.kube.delete_options import delete_options
from simulator.kube.deletion import DeleteOptions
from simulator.kube.go_durations import duration_problem
from simulator.kube.kinds import Object
from simulator.kube.listing import bool_parameter
from simulator.kube.paths import ResourcePath
from simulator.kube.schema.decode import check_identity, decode, parsed_body
from simulator.kube.schema.go_json import plain
from simulator.kube.schema.protobuf import MEDIA_TYPE, opened, read_message
from simulator.kube.schema.protobuf_wire import ProtobufError
from simulator.kube.status import bad_request, body_overdue, too_large
from simulator.kube.write_options import WriteOptions, write_options

MAX_BODY_BYTES = 3 * 1024 * 1024
"""The real API's limit."""
BODY_S = 60.0
"""For all of a body to come, as at the real API."""
_DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"


def media_type(request: web.Request) -> str:
    """The body's media type, empty where the client did not say one."""
    return request.content_type if request.headers.get("Content-Type") else ""


async def read_body(request: web.Request) -> bytes:
    """Read the request's body (413 when it is too long, 504 when it does not come)."""
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError as error:
        raise body_overdue() from error
    except web.HTTPRequestEntityTooLarge as error:
        raise too_large(MAX_BODY_BYTES) from error


def check_export(query: Mapping[str, str]) -> None:
    """Check that a read does not ask for what older releases had (400)."""
    if bool_parameter(query, "export"):
        raise bad_request("the export parameter, deprecated since v1.14, is no longer supported")


def check_timeout(query: Mapping[str, str]) -> None:
    """Check that the time after which the client gives up can be read (400)."""
    if problem := duration_problem(query.get("timeout") or "0"):
        raise bad_request(f"invalid timeout specified in the request URL - {problem}")


async def read_object(
    request: web.Request, path: ResourcePath, options: WriteOptions, *, name: str | None
) -> tuple[Object, list[str]]:
    """Read the object that is to be created, or to replace the one called `name`, and the warnings about it.

    Raises:
        ApiFailure: 400, 413, 415, 422.
    """
    body = await read_body(request)
    obj, warnings = decode(path.kind, path.served.schema, body, media_type(request), options.validation)
    check_identity(path.kind, obj, path.namespace, name)
    return obj, warnings


async def read_delete_options(request: web.Request) -> DeleteOptions:
    """Read how to delete, from the body, or from the parameters where there is none (400, 413, 415, 422)."""
    body, sent_as = await read_body(request), media_type(request)
    sent = None
    if body and sent_as == MEDIA_TYPE:
        try:
            sent = _options_in_protobuf(body)
        except ProtobufError as error:
            raise bad_request(str(error)) from error
    elif body:
        try:
            parsed, _ = parsed_body(body, sent_as)
            sent = plain(parsed)
        except ValueError as error:
            raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    return delete_options(sent, request.query, request.query.getall("dryRun", []))


def _options_in_protobuf(body: bytes) -> Object:
    """How to delete, as a client would have sent it in JSON; only its kind if that is another."""
    envelope = opened(body)
    fields = read_message(_DELETE_OPTIONS, envelope.raw) if envelope.kind in ("", "DeleteOptions") else {}
    return {"kind": envelope.kind, "apiVersion": envelope.api_version, **fields}


def read_write_options(
    request: web.Request, verb: Literal["Create", "Update", "Patch"], *, apply: bool = False
) -> WriteOptions:
    """Read the parameters of a write (422)."""
    query = {name: request.query.getall(name) for name in request.query}
    return write_options(verb, query, request.headers.get("User-Agent", ""), apply=apply)
