"""The scripts, called by name: fenced, loaded when the server has lost them, never sent twice blindly."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import hiredis
import msgpack

from gateway.connection import Connection, RedisUnavailable
from gateway.entitlements import Holding, Prepared
from gateway.errors import Outage
from gateway.metrics import Metrics
from lua import keys, load
from lua.reply import Code

NOT_EXECUTED = (
    "LOADING",
    "BUSY",
    "READONLY",
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "MASTERDOWN",
)
"""Error replies that mean the script did not run."""

NO_FINGERPRINT = b"\0" * 16
NOTHING = b""


class Replay:
    """Where the record of an idempotency key is kept, and what identifies its payload."""

    __slots__ = ("field", "fingerprint", "retention_ms")

    def __init__(self, field: bytes, fingerprint: bytes, retention_ms: int) -> None:
        self.field = field
        self.fingerprint = fingerprint
        self.retention_ms = retention_ms


class Stamp:
    """What a log entry says beside its numbers."""

    __slots__ = ("idempotency_key", "metadata", "request_id", "route", "source")

    def __init__(
        self,
        source: str,
        request_id: str,
        idempotency_key: str | None = None,
        metadata: dict[str, str] | None = None,
        route: str | None = None,
    ) -> None:
        self.source = source
        self.request_id = request_id
        self.idempotency_key = idempotency_key
        self.metadata = metadata
        self.route = route

    def pack(self, version: int, plan: str, catalog: int) -> bytes:
        """msgpack with one-letter names; reconciler/batch.py reads it."""
        fields: dict[str, object] = {
            "e": version,
            "p": plan,
            "c": catalog,
            "k": self.source,
            "r": self.request_id,
        }
        if self.idempotency_key is not None:
            fields["i"] = self.idempotency_key
        if self.metadata is not None:
            fields["m"] = self.metadata
        if self.route is not None:
            fields["u"] = self.route
        packed: bytes = msgpack.packb(fields)
        return packed


class _Bucket:
    """What this process knows of a bucket: its keys, and the last position it was told of."""

    __slots__ = ("epoch", "log", "meta", "no_slab", "number", "seq")

    def __init__(self, number: int) -> None:
        self.number = number
        self.meta = keys.meta(number).encode()
        self.log = keys.log(number).encode()
        self.no_slab = keys.idempotency(number, 0, 0).encode()
        self.epoch = 0
        self.seq = 0


class Counters:
    """Calls consume, check and track for one customer at a time."""

    def __init__(self, connection: Connection, metrics: Metrics, *, fence: str = "auto") -> None:
        self._connection = connection
        self._metrics = metrics
        self._in_script = fence == "script"
        self._buckets: dict[int, _Bucket] = {}
        self._ahead_ms = 0
        self._scripts = {
            name: (load(name), load(name).sha.encode()) for name in ("consume", "check", "track")
        }

    def now_ms(self) -> int:
        """Redis time as the last reply lets us estimate it, test clock included."""
        return time.time_ns() // 1_000_000 + self._ahead_ms

    async def read_now_ms(self, customer: str) -> int:
        """The time of the customer's bucket as a script would have it now, test clock included."""
        meta = keys.meta(keys.bucket_of(customer))
        (seconds, micros), (offset_ms, clock_ms) = await asyncio.gather(
            self._connection.execute("TIME"),
            self._connection.execute("HMGET", meta, "offset_ms", "clock_ms"),
        )
        now_ms = int(seconds) * 1000 + int(micros) // 1000 + int(offset_ms or 0)
        return max(now_ms, int(clock_ms or 0))

    async def decide(
        self,
        verb: str,
        holding: Holding,
        prepared: Sequence[tuple[Prepared, int]],
        stamp: Stamp,
        replay: Replay | None,
    ) -> list[Any]:
        """Run the script of a verb; the reply begins with a Code. Raises Outage or Overloaded."""
        bucket = self._bucket(holding.bucket)
        real_ms = time.time_ns() // 1_000_000
        command = self._command(verb, bucket, holding, prepared, stamp, replay, real_ms)
        started = time.perf_counter()
        reply = await self._run(verb, command)
        self._metrics.redis_seconds(time.perf_counter() - started)
        code = reply[0]
        self._ahead_ms = reply[1] - time.time_ns() // 1_000_000
        if code == Code.DONE and (reply[2], reply[3]) > (bucket.epoch, bucket.seq):
            bucket.epoch, bucket.seq = reply[2], reply[3]
        elif code == Code.FENCED:
            self._metrics.fenced()
        return reply

    async def ask_for_adoption(self, bucket: int) -> None:
        """Put a fenced bucket on the list the reconciler adopts from. Raises Outage."""
        known = self._bucket(bucket)
        await self._connection.execute("SADD", keys.ADOPT, bucket)
        # What was acknowledged belongs to the epoch before: the adopted one is larger or it is fenced again.
        known.seq = 0

    def _bucket(self, number: int) -> _Bucket:
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = _Bucket(number)
        return bucket

    def _command(
        self,
        verb: str,
        bucket: _Bucket,
        holding: Holding,
        prepared: Sequence[tuple[Prepared, int]],
        stamp: Stamp,
        replay: Replay | None,
        real_ms: int,
    ) -> tuple[Any, ...]:
        """EVALSHA with its operands in the order of the header of lua/consume.lua."""
        identity = self._connection.identity
        if identity is None:
            raise RedisUnavailable
        first = prepared[0][0].ask
        valid_from_ms, valid_until_ms = first.valid_from_ms, first.valid_until_ms
        usage, items = [], []
        for one, quantity in prepared:
            valid_from_ms = max(valid_from_ms, one.ask.valid_from_ms)
            valid_until_ms = min(valid_until_ms, one.ask.valid_until_ms)
            usage.append(one.key)
            items += one.operands(quantity)
        slab = past = bucket.no_slab
        field, fingerprint, forget_ms = NOTHING, NO_FINGERPRINT, 0
        if replay is not None:
            slab, past, forget_ms = _slabs(bucket.number, replay, real_ms)
            field, fingerprint = replay.field, replay.fingerprint
        entitlement = first.entitlement
        return (
            b"EVALSHA",
            self._scripts[verb][1],
            5 + len(usage),
            bucket.meta,
            bucket.log,
            holding.key,
            slab,
            past,
            *usage,
            b"script" if self._in_script else identity.run_id,
            NOTHING if self._in_script else identity.replid,
            b"%d" % holding.version,
            b"%d,%d,%d,%d,%d" % (real_ms, bucket.epoch, bucket.seq, valid_from_ms, valid_until_ms),
            field,
            fingerprint,
            forget_ms,
            holding.customer,
            stamp.pack(holding.version, entitlement.plan, entitlement.catalog),
            *items,
        )

    async def _run(self, verb: str, command: tuple[Any, ...]) -> list[Any]:
        reply = await self._connection.send(command)
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            # NOSCRIPT means that nothing ran, so sending it again cannot count twice.
            await self._connection.execute("SCRIPT", "LOAD", self._scripts[verb][0].source)
            reply = await self._connection.send(command)
        if isinstance(reply, hiredis.ReplyError):
            raise _outage(str(reply))
        answer: list[Any] = reply
        return answer


def _slabs(bucket: int, replay: Replay, real_ms: int) -> tuple[bytes, bytes, int]:
    slab, shard = real_ms // replay.retention_ms, replay.field[0] % keys.SHARDS
    # Slabs of different lengths must not share a key: the length is part of the number.
    forget_ms = (slab + 3) * replay.retention_ms
    number = replay.retention_ms * 1_000_000_000 + slab
    return (
        keys.idempotency(bucket, number, shard).encode(),
        keys.idempotency(bucket, number - 1, shard).encode(),
        forget_ms,
    )


def _outage(reply: str) -> Outage:
    """An error reply as the outage it is: known not to have run, or a fault of ours or the server's."""
    word = reply.partition(" ")[0]
    if word in NOT_EXECUTED or word in ("OOM", "NOREPLICAS", "MISCONF"):
        return RedisUnavailable(f"Redis answered {word}; nothing was counted.")
    return RedisUnavailable(f"Redis answered: {reply[:200]}")
