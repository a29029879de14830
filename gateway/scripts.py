"""How a script is run: fenced to the server and position we know, loaded when it is gone, never sent twice blindly."""

import asyncio
import time
from typing import Any

import hiredis

from gateway.connection import Connection, RedisUnavailable
from gateway.errors import Outage
from gateway.metrics import Metrics
from lua import keys, load
from lua.reply import Code

NOT_EXECUTED = frozenset(
    {"LOADING", "BUSY", "READONLY", "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"}
    | {"OOM", "NOREPLICAS", "MISCONF"}
)
"""First words of error replies that mean the script did not run."""

DECIDING = ("consume", "consume_many", "check", "track")
IN_SCRIPT = ("script", "")
"""Tells a script to read the server's identity itself."""

_DONE, _FENCED = int(Code.DONE), int(Code.FENCED)


class Bucket:
    """What this process knows of a bucket: its keys, and the last position it was told of."""

    __slots__ = ("epoch", "log", "meta", "no_slab", "number", "seq")

    def __init__(self, number: int) -> None:
        self.number = number
        self.meta = keys.meta(number).encode()
        self.log = keys.log(number).encode()
        self.no_slab = keys.idempotency(number, 0, 0).encode()
        self.epoch = 0
        self.seq = 0

    def moment(self, valid_from_ms: int, valid_until_ms: int) -> bytes:
        """The operand that says when and after what this process asks."""
        real_ms = time.time_ns() // 1_000_000
        return b"%d,%d,%d,%d,%d" % (real_ms, self.epoch, self.seq, valid_from_ms, valid_until_ms)

    def heard(self, epoch: int, seq: int) -> None:
        """Remember the highest position of which a decision was acknowledged."""
        if epoch > self.epoch or (epoch == self.epoch and seq > self.seq):
            self.epoch, self.seq = epoch, seq


class Scripts:
    """The deciding scripts on one connection, with what their replies say of server, position and time."""

    def __init__(self, connection: Connection, metrics: Metrics, *, fence: str = "auto") -> None:
        self.connection = connection
        self._metrics = metrics
        self._in_script = fence == "script"
        self._buckets: dict[int, Bucket] = {}
        self._ahead_ms = 0
        self.sha = {name: load(name).sha.encode() for name in DECIDING}

    def bucket(self, number: int) -> Bucket:
        """What is known of a bucket."""
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = Bucket(number)
        return bucket

    def server(self) -> tuple[str, str]:
        """run_id and replid to be fenced with; the same object for as long as the connection lasts."""
        if self._in_script:
            return IN_SCRIPT
        identity = self.connection.identity
        if identity is None:
            raise RedisUnavailable
        return identity

    def now_ms(self) -> int:
        """Redis time as the last reply lets us estimate it, test clock included."""
        return time.time_ns() // 1_000_000 + self._ahead_ms

    async def read_now_ms(self, customer: str) -> int:
        """The time of the customer's bucket as a script would have it now, test clock included."""
        meta = keys.meta(keys.bucket_of(customer))
        (seconds, micros), (offset_ms, clock_ms) = await asyncio.gather(
            self.connection.execute("TIME"),
            self.connection.execute("HMGET", meta, "offset_ms", "clock_ms"),
        )
        now_ms = int(seconds) * 1000 + int(micros) // 1000 + int(offset_ms or 0)
        return max(now_ms, int(clock_ms or 0))

    async def run(self, name: str, packed: bytes) -> list[Any]:
        """The reply to a packed EVALSHA. Raises Outage or Overloaded."""
        started = time.perf_counter()
        reply = await self.connection.send_packed(packed)
        if isinstance(reply, hiredis.ReplyError):
            reply = await self.again(name, packed, reply)
        self._metrics.redis_seconds(time.perf_counter() - started)
        answer: list[Any] = reply
        return answer

    async def again(self, name: str, packed: bytes, error: hiredis.ReplyError) -> list[Any]:
        """The reply at the second attempt, where the first is known not to have run. Raises Outage or Overloaded.

        NOSCRIPT means that nothing ran, so loading the script and sending it again cannot count twice.
        """
        if not str(error).startswith("NOSCRIPT"):
            raise _outage(str(error))
        await self.connection.execute("SCRIPT", "LOAD", load(name).source)
        reply: list[Any] | hiredis.ReplyError = await self.connection.send_packed(packed)
        if isinstance(reply, hiredis.ReplyError):
            raise _outage(str(reply))
        return reply

    def took(self, seconds: float) -> None:
        """Count how long a call took that was not made by `run`."""
        self._metrics.redis_seconds(seconds)

    def heard(self, bucket: Bucket, numbers: list[Any]) -> None:
        """Take from an answer what it says of time and position."""
        self._ahead_ms = numbers[1] - time.time_ns() // 1_000_000
        if numbers[0] == _DONE:
            bucket.heard(numbers[2], numbers[3])
        elif numbers[0] == _FENCED:
            self._metrics.fenced()

    async def ask_for_adoption(self, bucket: int) -> None:
        """Put a fenced bucket on the list the reconciler adopts from. Raises Outage."""
        await self.connection.execute("SADD", keys.ADOPT, bucket)


def _outage(reply: str) -> Outage:
    """An error reply as the outage it is: known not to have run, or a fault of ours or the server's."""
    word = reply.partition(" ")[0]
    if word in NOT_EXECUTED:
        return RedisUnavailable(f"Redis answered {word}; nothing was counted.")
    return RedisUnavailable(f"Redis answered: {reply[:200]}")
