"""`python -m framework.echo`: the contract's echo framework (contract section 8), the smallest complete worker.

It answers each call with what it was told, keys sorted, the payload byte for byte as it came.
"""

from typing import Final

import msgspec

from framework.contract import InvocationRequest, InvocationResponse
from framework.handlers import JSON_CONTENT_TYPE, encoded_body
from framework.server import run

_NULL: Final = msgspec.Raw(b"null")


class EchoBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The echo's answer; its fields are in the order of their JSON names."""

    attributes: dict[str, str] | None
    content_type: str
    invocation_id: str = msgspec.field(name="invocationID")
    payload: msgspec.Raw
    serverless_request_id: str = msgspec.field(name="serverlessRequestID")
    worker_name: str
    worker_namespace: str


async def echo(request: InvocationRequest) -> InvocationResponse:
    """Answer with the call itself; missing values are `null` or an empty string."""
    body = EchoBody(
        attributes=request.attributes or None,
        content_type=request.content_type,
        invocation_id=request.invocation_id,
        payload=request.payload if bytes(request.payload) else _NULL,
        serverless_request_id=request.serverless_request_id,
        worker_name=request.worker_name,
        worker_namespace=request.worker_namespace,
    )
    return InvocationResponse(status_code=200, content_type=JSON_CONTENT_TYPE, body=encoded_body(body))


if __name__ == "__main__":
    run(echo)
