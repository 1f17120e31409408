"""A client of the runtime API's dead letters, for the CLI: plain JSON as the routes answer it."""

from typing import Final
from urllib.parse import urlencode

from simulator.api_client import REQUEST_TIMEOUT_S, ApiClient, Json

PATH: Final = "/api/v1/serverless/dead-letters"
MOST: Final = 1000
"""Dead letters that the API lists at once."""


class DeadLettersClient(ApiClient):
    """As `ApiClient`, whose errors its methods raise; a dead letter is named by its sequence in the stream."""

    async def newest(self, limit: int, *, source: str = "", pool: str = "") -> list[Json]:
        """The newest dead letters, the newest first, without their payloads."""
        filters = {"source": source, "serverlessRequestID": pool}
        query = urlencode({"limit": limit} | {name: value for name, value in filters.items() if value})
        found: list[Json] = await self._request("GET", f"{PATH}?{query}", None, REQUEST_TIMEOUT_S)
        return found

    async def get(self, sequence: int) -> Json:
        """One dead letter, whole."""
        return await self._call("GET", f"{PATH}/{sequence}")

    async def retry(self, sequence: int) -> Json:
        """Queue its work again; the receipt."""
        return await self._call("POST", f"{PATH}/{sequence}/retry")

    async def drop(self, sequence: int) -> None:
        """Delete it."""
        await self._request("DELETE", f"{PATH}/{sequence}", None, REQUEST_TIMEOUT_S)
