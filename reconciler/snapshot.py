"""What Redis says of one bucket: the counters, each customer's at one instant, and the log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

from lua import keys, load
from lua.state import UsageState
from reconciler.entry import EntryUnreadable, Row, decode

LOG_PAGE = 1_000
"""Entries read at once."""

Place = tuple[int, int]
Pairs = Mapping[str, Iterable[str]]
"""Customer → features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketSnapshot:
    """Counters and the log behind them."""

    now_ms: int
    """The bucket's time when the last counters were read; 0 when it has no customers."""
    states: Mapping[tuple[str, str], UsageState | None]
    """None where there is no counter."""
    places: Mapping[str, Place]
    """Customer → the last place of the log when its counters were read."""
    log: Mapping[Place, tuple[Row, ...]]
    unreadable: tuple[EntryUnreadable, ...]


def read_buckets(redis: "Redis", pairs: Mapping[int, Pairs]) -> dict[int, BucketSnapshot]:
    """Counters first, then the logs: whatever the counters have counted is in the log or already copied."""
    counters = _counters(redis, pairs)
    logs = _logs(redis, list(pairs))
    return {
        bucket: BucketSnapshot(
            now_ms=max((each.now_ms for each in counters[bucket]), default=0),
            states={
                (each.customer, feature): state
                for each in counters[bucket]
                for feature, state in each.states.items()
            },
            places={each.customer: each.place for each in counters[bucket]},
            log=logs[bucket][0],
            unreadable=tuple(logs[bucket][1]),
        )
        for bucket in pairs
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Customer:
    customer: str
    now_ms: int
    place: Place
    states: Mapping[str, UsageState | None]


def _counters(redis: "Redis", pairs: Mapping[int, Pairs]) -> dict[int, list[_Customer]]:
    script = load("balances")
    redis.script_load(script.source)
    pipeline = redis.pipeline(transaction=False)
    asked: list[tuple[int, str, list[str]]] = []
    for bucket, of_bucket in pairs.items():
        for customer, features in of_bucket.items():
            wanted = list(features)
            names, args = script.bind(
                meta=keys.meta(bucket),
                entitlement=keys.entitlement(customer),
                usage=[keys.usage(customer, feature) for feature in wanted],
            )
            pipeline.evalsha(script.sha, len(names), *names, *args)
            asked.append((bucket, customer, wanted))
    found: dict[int, list[_Customer]] = {bucket: [] for bucket in pairs}
    for (bucket, customer, wanted), reply in zip(asked, pipeline.execute(), strict=True):
        now_ms, epoch, seq, _, *hashes = reply
        states = {
            feature: UsageState.parse(fields) if fields else None
            for feature, fields in zip(wanted, hashes, strict=True)
        }
        found[bucket].append(
            _Customer(customer=customer, now_ms=now_ms, place=(epoch, seq), states=states)
        )
    return found


Log = tuple[dict[Place, tuple[Row, ...]], list[EntryUnreadable]]


def _logs(redis: "Redis", buckets: list[int]) -> dict[int, Log]:
    """Every entry of some buckets, a page of each at a time."""
    logs: dict[int, Log] = {bucket: ({}, []) for bucket in buckets}
    starts = dict.fromkeys(buckets, "-")
    while starts:
        pipeline = redis.pipeline(transaction=False)
        for bucket, start in starts.items():
            pipeline.xrange(keys.log(bucket), min=start, count=LOG_PAGE)
        pages: dict[int, Any] = dict(zip(starts, pipeline.execute(), strict=True))
        for bucket, page in pages.items():
            _decode_into(logs[bucket], bucket, page)
        starts = {
            bucket: f"({page[-1][0].decode()}"
            for bucket, page in pages.items()
            if len(page) == LOG_PAGE
        }
    return logs


def _decode_into(log: Log, bucket: int, page: Any) -> None:
    rows, unreadable = log
    for entry_id, fields in page:
        epoch, seq = entry_id.split(b"-")
        try:
            rows[int(epoch), int(seq)] = decode(bucket, entry_id, fields)
        except EntryUnreadable as error:
            unreadable.append(error)
