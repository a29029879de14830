"""The deciding scripts, called for one customer: consume, check, track."""

from collections.abc import Awaitable, Sequence
from typing import Any

import hiredis

from gateway.entitlements import Holding, Prepared
from gateway.gathering import Gatherings
from gateway.scripts import Scripts
from gateway.stamp import stamp_of
from gateway.usage_request import UsageRequest
from lua import keys

NO_FINGERPRINT = b"\0" * 16
NO_FIELD = b""


class Replay:
    """Where the record of an idempotency key is kept, and what identifies its payload."""

    __slots__ = ("field", "fingerprint", "retention_ms")

    def __init__(self, field: bytes, fingerprint: bytes, retention_ms: int) -> None:
        self.field = field
        self.fingerprint = fingerprint
        self.retention_ms = retention_ms


class Counters:
    """Decides by one script call, together with others where that is the same."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._gatherings = Gatherings(scripts)
        self._alone = 0

    @property
    def deciding(self) -> int:
        """Decisions that wait for Redis."""
        return self._alone + self._gatherings.waiting

    def decide(
        self,
        verb: str,
        holding: Holding,
        prepared: Sequence[tuple[Prepared, int]],
        request: UsageRequest,
        replay: Replay | None,
    ) -> Awaitable[list[Any]]:
        """The numbers of the decision; the first is a Code. Awaiting raises Outage or Overloaded."""
        one, quantity = prepared[0]
        entitlement = one.ask.entitlement
        stamp = stamp_of(request, holding.version, entitlement.plan, entitlement.catalog)
        if verb == "consume" and replay is None and len(prepared) == 1:
            return self._gatherings.join(holding, one, quantity, stamp)
        return self._decide_alone(verb, holding, prepared, stamp, replay)

    async def _decide_alone(
        self,
        verb: str,
        holding: Holding,
        prepared: Sequence[tuple[Prepared, int]],
        stamp: bytes,
        replay: Replay | None,
    ) -> list[Any]:
        self._alone += 1
        try:
            reply = await self._scripts.run(
                verb, self._packed(verb, holding, prepared, stamp, replay)
            )
            self._scripts.heard(self._scripts.bucket(holding.bucket), reply)
            return reply
        finally:
            self._alone -= 1

    def _packed(
        self,
        verb: str,
        holding: Holding,
        prepared: Sequence[tuple[Prepared, int]],
        stamp: bytes,
        replay: Replay | None,
    ) -> bytes:
        """EVALSHA with its operands in the order of the header of lua/consume.lua."""
        bucket = self._scripts.bucket(holding.bucket)
        slab = past = bucket.no_slab
        field, fingerprint, forget_ms = NO_FIELD, NO_FINGERPRINT, 0
        moment = bucket.moment(
            max(one.ask.valid_from_ms for one, _ in prepared),
            min(one.ask.valid_until_ms for one, _ in prepared),
        )
        if replay is not None:
            slab, past, forget_ms = _slabs(bucket.number, replay, int(moment.partition(b",")[0]))
            field, fingerprint = replay.field, replay.fingerprint
        command: list[Any] = [
            *(b"EVALSHA", self._scripts.sha[verb], 5 + len(prepared)),
            *(bucket.meta, bucket.log, holding.key, slab, past),
            *(one.key for one, _ in prepared),
            *self._scripts.server(),
            *(b"%d" % holding.version, moment, field, fingerprint, forget_ms),
            *(holding.customer, stamp),
        ]
        for one, quantity in prepared:
            command += one.operands(quantity)
        packed: bytes = hiredis.pack_command(tuple(command))
        return packed


def _slabs(bucket: int, replay: Replay, real_ms: int) -> tuple[bytes, bytes, int]:
    """The hashes of this slab and the one before it, and when this one may be forgotten."""
    slab, shard = real_ms // replay.retention_ms, replay.field[0] % keys.SHARDS
    # Slabs of different lengths must not share a key: the length is part of the number.
    number = replay.retention_ms * 1_000_000_000 + slab
    return (
        keys.idempotency(bucket, number, shard).encode(),
        keys.idempotency(bucket, number - 1, shard).encode(),
        (slab + 3) * replay.retention_ms,
    )
