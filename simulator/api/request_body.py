"""The body of a request: read within a bound, decoded strictly, problems named by the field's JSON path."""

from typing import Final, TypeVar

import msgspec
from aiohttp import web

JSON: Final = "application/json"

_Body = TypeVar("_Body", bound=msgspec.Struct)


class InvalidRequestError(ValueError):
    """A field of a request is wrong; `field` is its JSON path, such as `template.ports[1].name`."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class BodyTooLargeError(ValueError):
    """The body is larger than the route takes."""


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """Return the request's body, of which never more than `max_bytes` and one chunk are held in memory (P7).

    Raises:
        BodyTooLargeError: it is longer than `max_bytes`.
        InvalidRequestError: it is not declared as JSON, or its transfer or content encoding is broken.
    """
    if (request.content_length or 0) > max_bytes:
        raise BodyTooLargeError(f"the body is larger than {max_bytes} bytes")
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > max_bytes:
                raise BodyTooLargeError(f"the body is larger than {max_bytes} bytes")
    except web.RequestPayloadError as error:
        raise InvalidRequestError("body", f"cannot be read: {error}") from error
    if body and not _is_json(request):
        raise InvalidRequestError("body", f"must be {JSON}, not {request.content_type}")
    return bytes(body)


def _is_json(request: web.Request) -> bool:
    """Whether the body may be JSON: a client that names no media type is trusted to send it."""
    declared = request.content_type
    return "Content-Type" not in request.headers or declared == JSON or declared.endswith("+json")


def decode_body(body: bytes, body_type: type[_Body]) -> _Body:
    """Decode a JSON object; an empty body counts as an empty object (contract 4.1).

    Raises:
        InvalidRequestError: not one JSON object in UTF-8, or a field of the wrong type.
    """
    try:
        body.decode()  # msgspec does not look into the strings of a Raw value
        return msgspec.json.decode(body if body.strip() else b"{}", type=body_type)
    except msgspec.ValidationError as error:
        raise _field_error(error) from error
    except RecursionError as error:
        raise InvalidRequestError("body", "is nested too deeply") from error
    except ValueError as error:  # bad JSON, bad UTF-8, or a number of thousands of digits
        raise InvalidRequestError("body", f"must be one JSON object: {error}") from error


def _field_error(error: msgspec.ValidationError) -> InvalidRequestError:
    """Turn "Expected `int | null`, got `str` - at `$.gpu`" into "gpu: expected int, got str"."""
    problem, _, path = str(error).partition(" - at ")
    words = problem.replace(" | null", "").replace("`", "")
    return InvalidRequestError(
        path.strip("`").removeprefix("$").removeprefix(".") or "body", words[0].lower() + words[1:]
    )
