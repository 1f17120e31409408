"""The API described by itself: an OpenAPI 3.1 document, shipped beside this module and served as it is.

`python -m simulator.api.openapi` writes it anew from the types and the table of operations; `--check` only compares.
"""

import argparse
import json
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

from simulator.api.openapi_operations import FAILURES, MISSING, OPERATIONS, Operation
from simulator.api.openapi_schemas import TEXT, Schema, component_schemas, reference
from simulator.api.request_body import JSON

FILE: Final = Path(__file__).with_name("openapi.json")
VERSION: Final = "v1"

DESCRIPTION: Final = """\
Units are made and pools invoked here. Every answer is `{"data": …}` or `{"error": {"code": …, "message": …}}`. \
A method that a path does not have is answered with 405 and an `Allow` header, a path that is none of these with 404, \
both without this envelope: `{"message": …}`. There is no authentication."""


def document() -> Schema:
    """The document, from the types and the table of operations."""
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "gpuunit-sim runtime API", "version": VERSION, "description": DESCRIPTION},
        "paths": paths,
        "components": {"schemas": component_schemas()},
    }


def _operation(operation: Operation) -> Schema:
    described: Schema = {"operationId": operation.name, "summary": operation.summary}
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body:
        described["requestBody"] = {"required": True, "content": _json(reference(operation.body))}
    responses: Schema = {str(status.value): _success(operation, status) for status in operation.successes}
    responses |= {str(status.value): _failure(operation, status) for status in operation.failures}
    if operation.mirrors:
        responses["default"] = {"description": "The result, with its own status code.", "content": _json(MIRRORED)}
    return described | {"responses": responses}


def _success(operation: Operation, status: HTTPStatus) -> Schema:
    description, schema = operation.successes[status]
    if schema is None:
        return {"description": description}
    return {"description": description, "content": _json(schema if operation.raw else _only(data=schema))}


def _failure(operation: Operation, status: HTTPStatus) -> Schema:
    failure = FAILURES[status]
    bodies = [_only(error=_only(code={"enum": list(operation.failures[status])}, message=TEXT))]
    if status is MISSING:  # also where a path parameter is such that the path is another one
        bodies.append(reference("Unrouted"))
    if operation.mirrors:
        bodies.append(MIRRORED)
    described: Schema = {
        "description": failure.meaning,
        "content": _json(bodies[0] if len(bodies) == 1 else {"anyOf": bodies}),
    }
    if failure.headers:
        described["headers"] = {
            name: {"description": text, "required": not operation.mirrors, "schema": TEXT}
            for name, text in failure.headers.items()
        }
    return described


def _only(**properties: Schema) -> Schema:
    """An object that has these fields and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


MIRRORED: Final = _only(data=reference("InvocationResult"))
"""The answer of a sync call, whatever its status."""


def _json(schema: Schema) -> Schema:
    return {JSON: {"schema": schema}}


class OpenApiRoute:
    """Handler of `/api/v1/openapi.json`."""

    def __init__(self) -> None:
        self._shipped = FILE.read_bytes()

    async def document(self, _request: web.Request) -> web.Response:
        """The document, as it is shipped."""
        return web.Response(body=self._shipped, content_type=JSON)


def text() -> str:
    """The file's content."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None, file: Path = FILE) -> int:
    """Write or, with `--check`, compare; returns the exit code: 1 when the file differs."""
    parser = argparse.ArgumentParser(prog="python -m simulator.api.openapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file differs from the types")
    if not parser.parse_args(arguments).check:
        file.write_text(text(), encoding="utf-8")
        return 0
    if file.exists() and file.read_text(encoding="utf-8") == text():
        return 0
    sys.stderr.write(f"{file.name} differs from the types: run python -m simulator.api.openapi\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
