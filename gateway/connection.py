"""One multiplexed connection to Redis: everything asked in one tick of the loop leaves in one write.

It never retries and never resends: what was in flight when the connection broke has an unknown outcome and says so.
"""

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis
import structlog

from gateway.errors import Outage, Overloaded

IN_FLIGHT_MAX = 4096
"""Commands waiting for a reply on one connection; more are refused before they are sent."""

FLUSH_BYTES = 2048
"""Bytes that are sent at once; less waits for the end of the tick. So Redis works while we still read requests."""

TICK_MS = 5
"""How exactly deadlines are kept."""

STALL_MAX_MS = 1000
"""A connection whose oldest reply is this late is given up and opened anew."""

CONNECT_MAX_MS = 1000
BACKOFF_MIN_MS = 20
BACKOFF_MAX_MS = 1000

log = structlog.get_logger()


class RedisUnavailable(Outage):
    """The decision could not be made because Redis cannot be reached; nothing was counted."""


class OutcomeUnknown(Outage):
    """Redis was asked and did not answer in time; whether this request was counted is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where Redis is, from `redis://`, `rediss://` or `unix://`."""

    path: str | None
    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None
    database: int

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Raises ValueError for a scheme that is not one of the three."""
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError(f"REDIS_URL: {parts.scheme}:// is not supported yet")
        query = parse_qs(parts.query)
        unix = parts.scheme == "unix"
        database = query.get("db", [None if unix else parts.path.strip("/")])[0]
        return cls(
            path=unquote(parts.path) if unix else None,
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 6379,
            tls=parts.scheme == "rediss",
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            database=int(database or 0),
        )


class Identity(NamedTuple):
    """The server a connection was opened to, as it named itself then."""

    run_id: str
    replid: str


class _Protocol(asyncio.Protocol):
    """The bytes of one connection: packs, flushes once a tick or when enough is waiting, hands replies out in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lost: Callable[[], None]) -> None:
        self._loop = loop
        self._lost = lost
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._socket: int | None = None
        """Our own descriptor of a connection without TLS: the event loop would hold a write back until the tick ends."""
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._flushing = False
        self.waiting: deque[tuple[asyncio.Future[Any], float]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        if transport.get_extra_info("ssl_object") is None:
            self._socket = os.dup(transport.get_extra_info("socket").fileno())

    def send(self, packed: bytes, deadline: float) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = self._loop.create_future()
        self.waiting.append((future, deadline))
        self._unsent.append(packed)
        self._unsent_bytes += len(packed)
        if self._unsent_bytes >= FLUSH_BYTES:
            self._write()
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        self._flushing = False
        if self._unsent:
            self._write()

    def _write(self) -> None:
        unsent, self._unsent, self._unsent_bytes = b"".join(self._unsent), [], 0
        transport = self._transport
        if transport is None:
            return
        sent = 0
        if self._socket is not None and not transport.get_write_buffer_size():
            try:
                sent = os.write(self._socket, unsent)
            except BlockingIOError:
                pass
            except OSError:
                # Broken: whatever waits is answered when the loop notices.
                return transport.abort()
        if sent < len(unsent):
            transport.write(unsent[sent:])

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self.waiting
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            future, _ = waiting.popleft()
            if not future.done():
                future.set_result(reply)

    def expire(self, now: float) -> bool:
        """Fail what is past its deadline; False when the connection has stalled."""
        for future, deadline in self.waiting:
            if deadline > now:
                break
            if not future.done():
                future.set_exception(OutcomeUnknown())
        return not self.waiting or now - self.waiting[0][1] < STALL_MAX_MS / 1000

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._socket is not None:
            os.close(self._socket)
            self._socket = None
        while self.waiting:
            future, _ = self.waiting.popleft()
            if not future.done():
                future.set_exception(OutcomeUnknown())
        self._lost()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Connection:
    """The gateway's way to Redis; opens itself anew, with a bounded backoff, for as long as it lives."""

    def __init__(self, url: str, *, deadline_ms: int) -> None:
        self._address = Address.parse(url)
        self._deadline_s = deadline_ms / 1000
        self._protocol: _Protocol | None = None
        self._opening: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._closed = False
        self.identity: Identity | None = None
        """Of the server at the other end; None while there is no connection."""

    async def open(self) -> None:
        """Start connecting; returns when the first attempt has ended, well or not."""
        self._loop = asyncio.get_running_loop()
        self._ticker = self._loop.call_later(TICK_MS / 1000, self._tick)
        try:
            await self._connect()
        except (OSError, Outage, hiredis.HiredisError) as error:
            log.warning("redis_unreachable", error=str(error))
            self._reopen()

    async def close(self) -> None:
        """Break the connection and stop opening it."""
        self._closed = True
        if self._ticker is not None:
            self._ticker.cancel()
        if self._opening is not None:
            self._opening.cancel()
        if self._protocol is not None:
            self._protocol.close()

    def send(self, args: tuple[Any, ...]) -> "asyncio.Future[Any]":
        """`send_packed` of a command that is not packed yet."""
        return self.send_packed(hiredis.pack_command(args))

    def send_packed(self, packed: bytes) -> "asyncio.Future[Any]":
        """Send one command, as RESP, with this tick's others; the future gives the reply.

        A reply that is an error is given as `hiredis.ReplyError`, not raised. Raises RedisUnavailable or
        Overloaded when nothing was sent; the future raises OutcomeUnknown when no reply came in time.
        """
        protocol = self._protocol
        if protocol is None:
            raise RedisUnavailable
        if len(protocol.waiting) >= IN_FLIGHT_MAX:
            raise Overloaded
        return protocol.send(packed, self._loop.time() + self._deadline_s)

    async def execute(self, *args: str | bytes | int) -> Any:
        """Send one command and await its reply. Raises what `send` does, and RedisUnavailable for an error reply."""
        reply = await self.send(args)
        if isinstance(reply, hiredis.ReplyError):
            raise RedisUnavailable(f"Redis answered: {reply}")
        return reply

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(TICK_MS / 1000, self._tick)
        protocol = self._protocol
        if protocol is not None and not protocol.expire(self._loop.time()):
            log.warning("redis_stalled")
            protocol.close()

    def _reopen(self) -> None:
        self._protocol = None
        self.identity = None
        if not self._closed and (self._opening is None or self._opening.done()):
            self._opening = self._loop.create_task(self._keep_connecting())

    async def _keep_connecting(self) -> None:
        backoff_ms = BACKOFF_MIN_MS
        while not self._closed:
            try:
                await self._connect()
            except (OSError, Outage, hiredis.HiredisError):
                await asyncio.sleep(backoff_ms / 1000)
                backoff_ms = min(2 * backoff_ms, BACKOFF_MAX_MS)
            else:
                log.info("redis_connected")
                return

    async def _connect(self) -> None:
        """Open, authenticate, and learn who answers; raises OSError, HiredisError or Outage."""
        address = self._address
        live = False

        def lost() -> None:
            if live:
                self._reopen()

        def protocol() -> _Protocol:
            return _Protocol(self._loop, lost)

        async with asyncio.timeout(CONNECT_MAX_MS / 1000):
            if address.path is not None:
                _, made = await self._loop.create_unix_connection(protocol, address.path)
            else:
                context = ssl.create_default_context() if address.tls else None
                _, made = await self._loop.create_connection(
                    protocol, address.host, address.port, ssl=context
                )
            try:
                identity = await self._greet(made)
            except BaseException:
                made.close()
                raise
        live = True
        self._protocol, self.identity = made, identity

    async def _greet(self, protocol: _Protocol) -> Identity:
        async def ask(*args: Any) -> Any:
            until = self._loop.time() + CONNECT_MAX_MS / 1000
            reply = await protocol.send(hiredis.pack_command(args), until)
            if isinstance(reply, hiredis.ReplyError):
                raise reply
            return reply

        address = self._address
        if address.password is not None:
            await ask("AUTH", *((address.username,) if address.username else ()), address.password)
        if address.database:
            await ask("SELECT", address.database)
        server = _fields(await ask("INFO", "server"))
        replication = _fields(await ask("INFO", "replication"))
        return Identity(run_id=server["run_id"], replid=replication["master_replid"])


def _fields(info: bytes) -> dict[str, str]:
    lines = (line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    return {line[0]: line[1] for line in lines}
