"""Hears from Redis what the control plane changed, so that memory is never older than it must be.

A message may be lost (pub/sub promises nothing); then what is remembered ends by age, and every
script call checks the entitlement's version anyway. Whenever the subscription begins anew,
everything is forgotten, because nobody knows what was said in between.
"""

import asyncio
from collections.abc import Callable

import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from lua import keys

PING_SECONDS = 5
"""A subscription that is silent for this long is asked whether it lives, and has as long to answer."""
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_SECONDS_MAX = 5.0

log = structlog.get_logger()


class Changes:
    """Listens on `keys.CHANGES` and calls back; each callback must return at once."""

    def __init__(
        self,
        redis_url: str,
        *,
        customer: Callable[[str], None],
        key: Callable[[str], None],
        catalog: Callable[[], None],
        gap: Callable[[], None],
    ) -> None:
        """`customer` gets an id, `key` a SHA-256 in hex; `gap` says that changes may have been missed."""
        self._redis_url = redis_url
        self._customer = customer
        self._key = key
        self._catalog = catalog
        self._gap = gap
        self.listening = asyncio.Event()
        """Set while subscribed."""

    async def run(self) -> None:
        """Listen until cancelled; a lost connection is made again, ever more slowly up to a maximum."""
        pause_seconds = BACKOFF_FIRST_SECONDS
        while True:
            try:
                await self._listen()
            except (redis.RedisError, OSError) as error:
                if self.listening.is_set():
                    pause_seconds = BACKOFF_FIRST_SECONDS
                    log.warning("changes_lost", error=str(error))
                self.listening.clear()
                # What is remembered from here on may be old: do not wait for the reconnect to say so.
                self._gap()
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, BACKOFF_SECONDS_MAX)

    async def _listen(self) -> None:
        # Without redis-py's own retries: it would subscribe again without telling us of the gap.
        client = redis.asyncio.Redis.from_url(
            self._redis_url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=PING_SECONDS
        )
        async with client, client.pubsub() as subscription:
            await subscription.subscribe(keys.CHANGES)
            pinged = True
            while True:
                _stop_if_cancelled()
                message = await subscription.get_message(timeout=PING_SECONDS)
                if message is None:
                    if pinged:
                        raise redis.TimeoutError("the subscription did not answer")
                    await subscription.ping()
                    pinged = True
                    continue
                pinged = False
                if message["type"] == "subscribe":
                    self._gap()
                    self.listening.set()
                elif message["type"] == "message":
                    self._hear(message["data"])

    def _hear(self, data: bytes) -> None:
        kind, _, name = data.decode(errors="replace").partition(" ")
        if kind == "customer":
            self._customer(name)
        elif kind == "key":
            self._key(name)
        elif kind == "catalog":
            self._catalog()
        else:
            # A newer control plane may say what this release does not know; to forget all is safe.
            self._gap()


def _stop_if_cancelled() -> None:
    """redis-py sometimes swallows the cancellation of what waits for it (measured: 1 of 4 while connecting)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
