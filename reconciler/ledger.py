"""The ledger's one transaction: rows, rollups and positions together, or none of them.

A position moves only from the values it was read with, `gen` among them. A reconciler that was overtaken, or
paused while the bucket was adopted anew, finds other values and adds nothing; whoever reads again goes on
from where Postgres stands.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from psycopg import Connection, Cursor
from psycopg.types.json import Jsonb

from lua import keys
from reconciler.batch import Batch, Loss, Position, segments_opened, usage_sums
from reconciler.clock import instant
from reconciler.entry import TIME_MAX_MS, Row
from reconciler.sql import queries


class PositionMoved(Exception):
    """A position changed under a lock that should have kept it; nothing was added."""


def time_of(at_ms: int) -> datetime:
    """The instant as Postgres takes it, exact."""
    return instant(min(at_ms, TIME_MAX_MS))


def cost_of(cost_nano: int) -> Decimal:
    """Money at scale 9 as an exact decimal."""
    return Decimal(cost_nano).scaleb(-9)


def read_positions(
    connection: Connection[Any], buckets: Iterable[int] = range(keys.BUCKETS)
) -> dict[int, Position]:
    """The positions of some buckets, or of all."""
    with connection.transaction():
        return _positions(connection.execute(queries["positions"], {"buckets": list(buckets)}))


def read_epoch_ends(
    connection: Connection[Any], buckets: Iterable[int]
) -> dict[int, dict[int, int]]:
    """For each bucket, where its earlier epochs ended."""
    ends: dict[int, dict[int, int]] = {}
    with connection.transaction():
        found = connection.execute(queries["epoch_ends"], {"buckets": list(buckets)})
        for bucket, epoch, seq in found:
            ends.setdefault(bucket, {})[epoch] = seq
    return ends


def post(connection: Connection[Any], batches: Sequence[Batch], at_ms: int) -> dict[int, Position]:
    """Add the batches whose buckets still stand where they were read, in one transaction.

    Returns the new positions of those; a bucket that is absent was moved by somebody else, or is
    being moved, and is to be read again. `at_ms` is when losses are said to have been found.
    """
    with connection.transaction(), connection.cursor() as cursor:
        wanted = {batch.position.bucket: batch for batch in batches}
        cursor.execute(queries["lock_positions"], {"buckets": list(wanted)})
        standing = _positions(cursor)
        kept = [b for b in wanted.values() if standing.get(b.position.bucket) == b.position]
        if not kept:
            return {}
        rows = [row for batch in kept for row in batch.rows]
        chains = [chain for batch in kept for chain in batch.chains]
        _copy_decisions(cursor, rows, chains)
        _add_usage(cursor, rows)
        _open_segments(cursor, rows)
        for loss in (loss for batch in kept for loss in batch.losses):
            add_loss(cursor, loss, at_ms)
        _move_positions(cursor, kept)
    return {batch.end.bucket: batch.end for batch in kept}


def add_loss(cursor: Cursor[Any], loss: Loss, at_ms: int) -> None:
    """Record entries that could not be copied."""
    cursor.execute(
        queries["add_loss"],
        {
            "found_at": time_of(at_ms),
            "bucket": loss.bucket,
            "epoch": loss.epoch,
            "from_seq": loss.from_seq,
            "to_seq": loss.to_seq,
            "note": loss.note,
        },
    )


def _positions(found: Iterable[tuple[Any, ...]]) -> dict[int, Position]:
    return {
        bucket: Position(bucket=bucket, epoch=epoch, seq=seq, gen=gen, chain=bytes(chain))
        for bucket, epoch, seq, gen, chain in found
    }


def _copy_decisions(cursor: Cursor[Any], rows: Sequence[Row], chains: Sequence[bytes]) -> None:
    times: dict[int, datetime] = {}

    def time(at_ms: int) -> datetime:
        if at_ms not in times:
            times[at_ms] = time_of(at_ms)
        return times[at_ms]

    with cursor.copy(queries["copy_decisions"]) as copy:
        for row, chain in zip(rows, chains, strict=True):
            copy.write_row(
                (
                    row.bucket,
                    row.epoch,
                    row.seq,
                    row.item,
                    time(row.at_ms),
                    row.verb,
                    row.customer,
                    row.feature,
                    row.quantity,
                    row.included,
                    row.rollover,
                    row.credits,
                    row.overage,
                    row.beyond,
                    cost_of(row.cost_nano),
                    time(row.period_start_ms),
                    time(row.period_end_ms),
                    row.segment,
                    row.used_after,
                    row.overage_after,
                    row.entitlement,
                    row.plan,
                    row.catalog,
                    row.source,
                    Jsonb(row.stamp, msgspec.json.encode),
                    chain,
                )
            )


def _add_usage(cursor: Cursor[Any], rows: Sequence[Row]) -> None:
    # Sorted, so that two reconcilers that meet on a row meet in the same order.
    sums = sorted(usage_sums(rows).items(), key=lambda item: item[0])
    cursor.execute(
        queries["add_usage"],
        {
            "customer": [key[0] for key, _ in sums],
            "feature": [key[1] for key, _ in sums],
            "period_start": [time_of(key[2]) for key, _ in sums],
            "segment": [key[3] for key, _ in sums],
            "source": [key[4] for key, _ in sums],
            "quarter": [time_of(key[5]) for key, _ in sums],
            "period_end": [time_of(total.period_end_ms) for _, total in sums],
            "quantity": [total.quantity for _, total in sums],
            "included": [total.included for _, total in sums],
            "rollover": [total.rollover for _, total in sums],
            "credits": [total.credits for _, total in sums],
            "overage": [total.overage for _, total in sums],
            "beyond": [total.beyond for _, total in sums],
            "cost": [cost_of(total.cost_nano) for _, total in sums],
            "decisions": [total.decisions for _, total in sums],
        },
    )


def _open_segments(cursor: Cursor[Any], rows: Sequence[Row]) -> None:
    opened = sorted(segments_opened(rows).items())
    cursor.execute(
        queries["open_segments"],
        {
            "customer": [key[0] for key, _ in opened],
            "feature": [key[1] for key, _ in opened],
            "period_start": [time_of(key[2]) for key, _ in opened],
            "segment": [key[3] for key, _ in opened],
            "entitlement": [version for _, (version, _) in opened],
            "opened_at": [time_of(at_ms) for _, (_, at_ms) in opened],
        },
    )


def _move_positions(cursor: Cursor[Any], batches: Sequence[Batch]) -> None:
    moves: Mapping[str, list[Any]] = {
        "bucket": [batch.position.bucket for batch in batches],
        "from_epoch": [batch.position.epoch for batch in batches],
        "from_seq": [batch.position.seq for batch in batches],
        "gen": [batch.position.gen for batch in batches],
        "epoch": [batch.end.epoch for batch in batches],
        "seq": [batch.end.seq for batch in batches],
        "chain": [batch.end.chain for batch in batches],
    }
    cursor.execute(queries["move_positions"], moves)
    if cursor.rowcount != len(batches):
        raise PositionMoved
