"""uvicorn's HTTP protocol with one write a tick: it writes an answer's head and its body each by itself, and a write is
the dearest thing a short answer asks for."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Corked:
    """A transport that keeps what is written until the tick of the loop ends; everything else is the transport's own."""

    __slots__ = ("_loop", "_transport", "_unsent")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._unsent: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send with the rest of this tick, in order."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(data)

    def close(self) -> None:
        """Close once everything written has been sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            self._transport.write(b"".join(unsent))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class CorkedProtocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, over a corked transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, with writes gathered."""
        super().connection_made(cast(asyncio.Transport, Corked(self.loop, transport)))
