"""The two HTTP interfaces a replay speaks to; every retry is ours and bounded."""

import asyncio
from typing import Any

import aiohttp

TRIES_MAX = 6
RETRY_AFTER_MAX_S = 5
"""What a server asks us to wait is honoured up to here."""
TIMEOUT_S = 30
CONNECTIONS_MAX = 64


class ReplayFailed(Exception):
    """The installation refused something a replay cannot do without; the text is its answer."""


class Unreachable(ReplayFailed):
    """Nobody answered, however often we asked."""


class Plane:
    """One of the two planes, with the key that opens it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}

    async def call(
        self, method: str, path: str, body: Any = None, *, absent_ok: bool = False
    ) -> Any:
        """The JSON answer; None for a 404 where that is fine.

        A 503 and a broken connection are tried again: what is sent is idempotent, or carries its key.
        Raises ReplayFailed with the detail of any other refusal, Unreachable after TRIES_MAX tries.
        """
        trouble = ""
        for attempt in range(TRIES_MAX):
            try:
                return await self._once(method, path, body, absent_ok)
            except _Again as again:
                trouble = again.detail
                await asyncio.sleep(min(again.wait_s, RETRY_AFTER_MAX_S))
            except (aiohttp.ClientConnectionError, TimeoutError) as error:
                trouble = str(error) or type(error).__name__
                await asyncio.sleep(0.05 * 2**attempt)
        raise Unreachable(f"{method} {self._url}{path}: {trouble}")

    async def _once(self, method: str, path: str, body: Any, absent_ok: bool) -> Any:
        url = self._url + path
        async with self._session.request(method, url, json=body, headers=self._headers) as answer:
            document = await answer.json(content_type=None)
            if answer.status == 503:
                wait = answer.headers.get("Retry-After", "1")
                detail = document.get("detail", "503") if document else "503"
                raise _Again(detail, int(wait) if wait.isdecimal() else 1)
            if answer.status == 404 and absent_ok:
                return None
            if answer.status >= 300:
                detail = (document or {}).get("detail") or (document or {}).get("title", "")
                raise ReplayFailed(f"{method} {path}: {answer.status} {detail}".strip())
            return document


class _Again(Exception):
    """The server is there and asks us to come back."""

    def __init__(self, detail: str, wait_s: int) -> None:
        super().__init__(detail)
        self.detail = detail
        self.wait_s = wait_s


def open_session() -> aiohttp.ClientSession:
    """A session whose connections and waiting are bounded; aiohttp's own retries never repeat a POST."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    )
