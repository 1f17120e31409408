"""A client of the runtime API for the CLI and the scenarios: plain JSON in and out (contract section 4)."""

from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from simulator.errors import PlatformError, SimulatorError

Json = dict[str, Any]

SYNC_MARGIN_S: Final = 15.0
"""How much longer than an invocation's own budget we wait for the API's answer."""
REQUEST_TIMEOUT_S: Final = 30.0


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
        return await self._call("POST", "/api/v1/serverless/invocations", body, timeout_s + SYNC_MARGIN_S)

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
