"""A client of the runtime API for the CLI and the scenarios: plain JSON in and out (contract section 4)."""

from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlencode, urlsplit

import aiohttp

from sidecar.durations import parse_duration
from simulator.errors import PlatformError, SimulatorError, UsageError

Json = dict[str, Any]

SYNC_MARGIN_S: Final = 15.0
"""How much longer than an invocation's own budget we wait for the API's answer."""
REQUEST_TIMEOUT_S: Final = 30.0

INVOCATIONS: Final = "/api/v1/serverless/invocations"


class ApiRefusedError(SimulatorError):
    """The API answered with an error envelope; `status` is the HTTP status, `code` the machine-readable code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{message} (HTTP {status}, {code})")
        self.status = status
        self.code = code
        if status in (400, 413):
            self.exit_code = 2  # what was asked for is wrong: a usage error


class ApiClient:
    """One connection pool to one API; an async context manager."""

    def __init__(self, url: str) -> None:
        """`url` is the API's address. Raises UsageError when that is no http URL."""
        if not _is_http(url):
            raise UsageError(f"--api-url {url!r} is no http URL; name one such as http://127.0.0.1:8080")
        self._url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def create_unit(self, body: Json) -> Json:
        """Create a GPUUnit; a replay of the same request returns the unit as it is now."""
        return await self._call("POST", "/api/v1/gpu-units", body)

    async def unit(self, name: str) -> Json:
        """One unit's view."""
        return await self._call("GET", f"/api/v1/gpu-units/{name}")

    async def units(self) -> list[Json]:
        """All units' views."""
        found: list[Json] = await self._request("GET", "/api/v1/gpu-units", None, REQUEST_TIMEOUT_S)
        return found

    async def delete_unit(self, name: str) -> None:
        """Delete a unit."""
        await self._request("DELETE", f"/api/v1/gpu-units/{name}", None, REQUEST_TIMEOUT_S)

    async def invoke(self, body: Json, timeout_s: float = 30) -> Json:
        """Invoke a pool: the result of a sync call, the receipt of an async one. `timeout_s` is the call's budget."""
        return await self._call("POST", INVOCATIONS, body, timeout_s + SYNC_MARGIN_S)

    async def invocation(self, invocation_id: str, wait: str = "") -> Json:
        """One invocation: its state, or its result. With `wait`, such as `10s`, its end is awaited for that long."""
        wait_s = parse_duration(wait) if wait else 0.0
        query = f"?{urlencode({'wait': wait})}" if wait else ""
        return await self._call("GET", f"{_invocation(invocation_id)}{query}", None, wait_s + REQUEST_TIMEOUT_S)

    async def invocations(self, pool: str, limit: int | None = None) -> list[Json]:
        """A pool's recent invocations, the open ones first, the newest first; results without their bodies."""
        query = urlencode({"serverlessRequestID": pool} | ({"limit": limit} if limit is not None else {}))
        found: list[Json] = await self._request("GET", f"{INVOCATIONS}?{query}", None, REQUEST_TIMEOUT_S)
        return found

    async def cancel(self, invocation_id: str) -> Json:
        """Take an invocation back; returns the state in which it was. ApiRefusedError 409: it has ended."""
        return await self._call("DELETE", _invocation(invocation_id))

    async def health(self) -> Json:
        """The platform's health."""
        return await self._call("GET", "/api/v1/health")

    async def _call(
        self, method: str, path: str, body: Json | None = None, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> Json:
        data: Json = await self._request(method, path, body, timeout_s)
        return data

    async def _request(self, method: str, path: str, body: Json | None, timeout_s: float) -> Any:
        if self._session is None:
            raise RuntimeError("ApiClient is used outside its 'async with' block")
        try:
            timeout = aiohttp.ClientTimeout(total=timeout_s)
            async with self._session.request(method, self._url + path, json=body, timeout=timeout) as answer:
                content = await answer.json(content_type=None) if answer.status != 204 else {}
                status = answer.status
        except aiohttp.ClientConnectorError as error:
            raise PlatformError(
                f"no runtime API at {self._url}: start one with 'unitsim up', or name another with --api-url"
            ) from error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise PlatformError(f"{method} {self._url}{path}: {str(error) or type(error).__name__}") from error
        if status >= 400:
            problem = content.get("error") if isinstance(content, dict) else None
            problem = problem if isinstance(problem, dict) else {}
            raise ApiRefusedError(status, str(problem.get("code", "unknown")), str(problem.get("message", content)))
        return content.get("data") if isinstance(content, dict) else content


def _invocation(invocation_id: str) -> str:
    return f"{INVOCATIONS}/{quote(invocation_id, safe='')}"


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that are none
        return False
