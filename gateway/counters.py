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
from gateway.usage_request import UsageRequest
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
IN_SCRIPT = ("script", "")
"""Tells the script to read the server's identity itself."""


class Replay:
    """Where the record of an idempotency key is kept, and what identifies its payload."""

    __slots__ = ("field", "fingerprint", "retention_ms")

    def __init__(self, field: bytes, fingerprint: bytes, retention_ms: int) -> None:
        self.field = field
        self.fingerprint = fingerprint
        self.retention_ms = retention_ms


def stamp_of(request: UsageRequest, version: int, plan: str, catalog: int) -> bytes:
    """What a log entry says beside its numbers: msgpack with one-letter names; reconciler/entry.py reads it."""
    fields: dict[str, object] = {
        "e": version,
        "p": plan,
        "c": catalog,
        "k": request.source,
        "r": request.request_id,
    }
    if request.idempotency_key is not None:
        fields["i"] = request.idempotency_key
    if request.metadata is not None:
        fields["m"] = request.metadata
    if request.route is not None:
        fields["u"] = request.route
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
        request: UsageRequest,
        replay: Replay | None,
    ) -> list[Any]:
        """Run the script of a verb; the reply begins with a Code. Raises Outage or Overloaded."""
        started = time.perf_counter()
        bucket = self._bucket(holding.bucket)
        real_ms = time.time_ns() // 1_000_000
        if replay is None and len(prepared) == 1:
            packed = self._pack_usual(verb, bucket, holding, prepared[0], request, real_ms)
        else:
            packed = self._pack(verb, bucket, holding, prepared, request, replay, real_ms)
        reply = await self._connection.send_packed(packed)
        if isinstance(reply, hiredis.ReplyError):
            reply = await self._once_more(verb, packed, reply)
        code, now_ms, epoch, seq = reply[:4]
        self._ahead_ms = now_ms - time.time_ns() // 1_000_000
        if code == Code.DONE and (seq > bucket.seq or epoch > bucket.epoch):
            bucket.epoch, bucket.seq = max((bucket.epoch, bucket.seq), (epoch, seq))
        elif code == Code.FENCED:
            self._metrics.fenced()
        self._metrics.redis_seconds(time.perf_counter() - started)
        answer: list[Any] = reply
        return answer

    async def ask_for_adoption(self, bucket: int) -> None:
        """Put a fenced bucket on the list the reconciler adopts from. Raises Outage."""
        await self._connection.execute("SADD", keys.ADOPT, bucket)

    def _bucket(self, number: int) -> _Bucket:
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = _Bucket(number)
        return bucket

    def _pack(
        self,
        verb: str,
        bucket: _Bucket,
        holding: Holding,
        prepared: Sequence[tuple[Prepared, int]],
        request: UsageRequest,
        replay: Replay | None,
        real_ms: int,
    ) -> bytes:
        """EVALSHA with its operands in the order of the header of lua/consume.lua."""
        run_id, replid = self._server()
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
        command: tuple[Any, ...] = (
            *(b"EVALSHA", self._scripts[verb][1], 5 + len(usage)),
            *(bucket.meta, bucket.log, holding.key, slab, past, *usage),
            *(run_id, replid, b"%d" % holding.version),
            _moment(real_ms, bucket, valid_from_ms, valid_until_ms),
            *(field, fingerprint, forget_ms, holding.customer),
            stamp_of(request, holding.version, entitlement.plan, entitlement.catalog),
            *items,
        )
        packed: bytes = hiredis.pack_command(command)
        return packed

    def _pack_usual(
        self,
        verb: str,
        bucket: _Bucket,
        holding: Holding,
        item: tuple[Prepared, int],
        request: UsageRequest,
        real_ms: int,
    ) -> bytes:
        """What `_pack` makes of one feature without a key, from parts kept with the feature: a third of its time."""
        one, quantity = item
        run_id, replid = server = self._server()
        asked = one.ask
        parts = one.packed.get(verb)
        if parts is None or parts[0] is not server:
            head = _bulks(
                *(b"EVALSHA", self._scripts[verb][1], b"6"),
                *(bucket.meta, bucket.log, holding.key, bucket.no_slab, bucket.no_slab, one.key),
                *(run_id.encode(), replid.encode(), b"%d" % holding.version),
            )
            middle = _bulks(NOTHING, NO_FINGERPRINT, b"0", holding.customer.encode())
            before, after = _bulks(one.before), _bulks(*one.after)
            parts = one.packed[verb] = (server, b"*24\r\n" + head, middle, before, after)
        _, head, middle, before, after = parts
        moment = _moment(real_ms, bucket, asked.valid_from_ms, asked.valid_until_ms)
        entitlement = asked.entitlement
        said = stamp_of(request, holding.version, entitlement.plan, entitlement.catalog)
        digits = b"%d" % quantity
        return b"%b$%d\r\n%b\r\n%b$%d\r\n%b\r\n%b$%d\r\n%b\r\n%b" % (
            *(head, len(moment), moment, middle, len(said), said),
            *(before, len(digits), digits, after),
        )

    def _server(self) -> tuple[str, str]:
        """run_id and replid to be fenced with; the same object for as long as the connection lasts."""
        if self._in_script:
            return IN_SCRIPT
        identity = self._connection.identity
        if identity is None:
            raise RedisUnavailable
        return identity

    async def _once_more(self, verb: str, packed: bytes, error: hiredis.ReplyError) -> list[Any]:
        """After NOSCRIPT nothing ran, so loading and sending it again cannot count twice; else an outage."""
        if not str(error).startswith("NOSCRIPT"):
            raise _outage(str(error))
        await self._connection.execute("SCRIPT", "LOAD", self._scripts[verb][0].source)
        reply: list[Any] | hiredis.ReplyError = await self._connection.send_packed(packed)
        if isinstance(reply, hiredis.ReplyError):
            raise _outage(str(reply))
        return reply


def _moment(real_ms: int, bucket: _Bucket, valid_from_ms: int, valid_until_ms: int) -> bytes:
    return b"%d,%d,%d,%d,%d" % (real_ms, bucket.epoch, bucket.seq, valid_from_ms, valid_until_ms)


def _bulks(*values: bytes) -> bytes:
    """RESP bulk strings, one after another."""
    return b"".join(b"$%d\r\n%b\r\n" % (len(value), value) for value in values)


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
