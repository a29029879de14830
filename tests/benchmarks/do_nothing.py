"""The ceiling: an ASGI app that reads the body and answers a constant of the usual length: only the HTTP server is measured."""

from collections.abc import Awaitable, Callable
from typing import Any

ANSWER = b'{"allowed":true,"message":"%b"}' % (b"." * 900)
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer anything with the same bytes."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
