"""Entries of the log gathered into what one transaction adds. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.entry import EntryUnreadable, Row, decode, link

QUARTER_MS = 900_000
"""Rollups are kept by the quarter of an hour: every zone's hours and days are made of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a bucket has been copied, and the generation in which that was read."""

    bucket: int
    epoch: int = 0
    seq: int = 0
    gen: int = 0
    chain: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Entries that were gone from the log before they were copied."""

    bucket: int
    epoch: int
    from_seq: int
    to_seq: int | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one transaction adds for one bucket, on top of `position`."""

    position: Position
    rows: tuple[Row, ...]
    chains: tuple[bytes, ...]
    losses: tuple[Loss, ...]
    entries: int
    end: Position


@dataclass(slots=True, kw_only=True)
class UsageSum:
    """A rollup: the sums of one customer, feature, period, segment and source in a quarter hour."""

    period_end_ms: int
    quantity: int = 0
    included: int = 0
    rollover: int = 0
    credits: int = 0
    overage: int = 0
    beyond: int = 0
    cost_nano: int = 0
    decisions: int = 0


UsageKey = tuple[str, str, int, int, str, int]
"""customer, feature, period_start_ms, segment, source, quarter_ms."""


def gather(
    position: Position,
    entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]],
    epoch_ends: Mapping[int, int],
) -> Batch:
    """The batch that carries a bucket on from `position`, with what was found missing on the way.

    `entries` come in the order of the log; those at or before the position are skipped, so that reading twice
    does nothing. `epoch_ends` says where earlier epochs ended, by epoch. Raises EntryUnreadable
    only when the very first new entry cannot be read; the readable ones before another are a batch.
    """
    rows: list[Row] = []
    losses: list[Loss] = []
    at = (position.epoch, position.seq)
    count = 0
    for entry_id, entry in entries:
        epoch, seq = (int(part) for part in entry_id.split(b"-"))
        if (epoch, seq) <= at:
            continue
        try:
            decoded = decode(position.bucket, entry_id, entry)
        except EntryUnreadable:
            if count == 0:
                raise
            break
        losses.extend(_gaps(position.bucket, at, (epoch, seq), epoch_ends))
        rows.extend(decoded)
        at = (epoch, seq)
        count += 1
    chains = _chained(position.chain, rows)
    end = Position(
        bucket=position.bucket,
        epoch=at[0],
        seq=at[1],
        gen=position.gen,
        chain=chains[-1] if chains else position.chain,
    )
    return Batch(
        position=position,
        rows=tuple(rows),
        chains=tuple(chains),
        losses=tuple(losses),
        entries=count,
        end=end,
    )


def _chained(previous: bytes, rows: Sequence[Row]) -> list[bytes]:
    chains = []
    for row in rows:
        previous = link(previous, row)
        chains.append(previous)
    return chains


def _gaps(
    bucket: int, at: tuple[int, int], found: tuple[int, int], epoch_ends: Mapping[int, int]
) -> list[Loss]:
    """What lies between two places of a log that should follow one another."""
    note = "gone from the log before it was copied"
    gaps: list[Loss] = []

    def missing(epoch: int, first: int, last: int) -> None:
        if first <= last:
            gaps.append(Loss(bucket=bucket, epoch=epoch, from_seq=first, to_seq=last, note=note))

    epoch, seq = found
    if epoch == at[0]:
        missing(epoch, at[1] + 1, seq - 1)
        return gaps
    for earlier in sorted(e for e in epoch_ends if at[0] <= e < epoch):
        missing(earlier, (at[1] if earlier == at[0] else 0) + 1, epoch_ends[earlier])
    missing(epoch, 1, seq - 1)
    return gaps


def usage_sums(rows: Iterable[Row]) -> dict[UsageKey, UsageSum]:
    """The rollups of some rows."""
    sums: dict[UsageKey, UsageSum] = {}
    for row in rows:
        quarter_ms = row.at_ms - row.at_ms % QUARTER_MS
        key = (
            row.customer,
            row.feature,
            row.period_start_ms,
            row.segment,
            row.source,
            quarter_ms,
        )
        total = sums.get(key)
        if total is None:
            total = sums[key] = UsageSum(period_end_ms=row.period_end_ms)
        total.quantity += row.quantity
        total.included += row.included
        total.rollover += row.rollover
        total.credits += row.credits
        total.overage += row.overage
        total.beyond += row.beyond
        total.cost_nano += row.cost_nano
        total.decisions += 1
    return sums


def segments_opened(rows: Iterable[Row]) -> dict[tuple[str, str, int, int], tuple[int, int]]:
    """customer, feature, period_start_ms, segment → the entitlement and time of its first row."""
    opened: dict[tuple[str, str, int, int], tuple[int, int]] = {}
    for row in rows:
        key = (row.customer, row.feature, row.period_start_ms, row.segment)
        opened.setdefault(key, (row.entitlement, row.at_ms))
    return opened
