"""Rebuild: a bucket's counters in Redis, from the ledger, where Redis has lost what Postgres has.

Nothing decides on the bucket meanwhile: it was fenced, and the write is refused when somebody has adopted it since.
Idempotency records are not in the ledger and do not come back: a key from before the loss is a new request.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from redis import Redis, WatchError

from gateway.pricing.window import NEVER_ENDS_MS
from lua import keys
from lua.state import UsageState
from reconciler.documents import EntitlementDocuments
from reconciler.ledger_rows import read_rows
from reconciler.recount import Recount
from reconciler.sql import queries

ROWS_MAX = 5_000_000
"""A bucket with more rows is not rebuilt while everybody waits."""
SLACK_MS = 604_800_000
"""How long after its last window's end a counter is kept, as in lua/lib/log.lua."""


class RebuildTooLarge(Exception):
    """The bucket has more rows than are counted again in one go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What was written for one bucket."""

    bucket: int
    counters: int
    adopted_meanwhile: bool = False


def rebuild_bucket(
    connection: Connection[Any],
    redis: "Redis",
    bucket: int,
    *,
    offset_ms: int,
    now_ms: int,
) -> Rebuilt:
    """Write the counters of every customer of a fenced bucket.

    Raises RebuildTooLarge, and EntitlementMissing when a row cannot be understood; nothing is written then.
    """
    with connection.transaction():
        _refuse_large(connection, bucket)
        recount = Recount(EntitlementDocuments(connection))
        clock_ms = 0
        for each in read_rows(connection, [bucket]):
            recount.add(each.row)
            clock_ms = max(clock_ms, each.row.at_ms)
    live = {
        keys.usage(customer, feature): state
        for customer, feature, state in recount.states()
        if _ends_ms(state) > now_ms
    }
    written = _write(redis, bucket, live, clock_ms=clock_ms, offset_ms=offset_ms)
    return Rebuilt(bucket=bucket, counters=len(live), adopted_meanwhile=not written)


def _refuse_large(connection: Connection[Any], bucket: int) -> None:
    found = connection.execute(
        queries["count_decisions_of_bucket"], {"bucket": bucket, "bound": ROWS_MAX + 1}
    ).fetchone()
    if found is not None and found[0] > ROWS_MAX:
        raise RebuildTooLarge(f"bucket {bucket:04d} has more than {ROWS_MAX} rows")


def _ends_ms(state: UsageState) -> int:
    return max(window.end_ms for window in state.windows.values())


def _write(
    redis: "Redis",
    bucket: int,
    states: Mapping[str, UsageState],
    *,
    clock_ms: int,
    offset_ms: int,
) -> bool:
    """All of it or nothing; nothing when somebody adopted the bucket in the meantime."""
    meta = keys.meta(bucket)
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.watch(meta)  # type: ignore[no-untyped-call]
        if pipeline.hexists(meta, "run_id"):
            return False
        stored_clock_ms: Any = pipeline.hget(meta, "clock_ms")
        pipeline.multi()
        for key, state in states.items():
            pipeline.delete(key)
            fields: dict[Any, Any] = dict(state.to_fields())
            pipeline.hset(key, mapping=fields)
            ends_ms = _ends_ms(state)
            if ends_ms < NEVER_ENDS_MS:
                pipeline.pexpireat(key, ends_ms + SLACK_MS - offset_ms)
        pipeline.hset(meta, "clock_ms", str(max(clock_ms, int(stored_clock_ms or 0))))
        try:
            pipeline.execute()
        except WatchError:
            return False
    return True
