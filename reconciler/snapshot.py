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


def read_bucket(redis: "Redis", bucket: int, pairs: Pairs) -> BucketSnapshot:
    """Counters first, then the log: whatever the counters have counted is in the log or already copied."""
    states: dict[tuple[str, str], UsageState | None] = {}
    places: dict[str, Place] = {}
    now_ms = 0
    for customer, features in pairs.items():
        wanted = list(features)
        now_ms, places[customer], hashes = _counters(redis, bucket, customer, wanted)
        for feature, fields in zip(wanted, hashes, strict=True):
            states[customer, feature] = UsageState.parse(fields) if fields else None
    rows, unreadable = _log(redis, bucket)
    return BucketSnapshot(
        now_ms=now_ms, states=states, places=places, log=rows, unreadable=unreadable
    )


def _counters(
    redis: "Redis", bucket: int, customer: str, features: list[str]
) -> tuple[int, Place, list[list[bytes]]]:
    script = load("balances")
    names, args = script.bind(
        meta=keys.meta(bucket),
        entitlement=keys.entitlement(customer),
        usage=[keys.usage(customer, feature) for feature in features],
    )
    reply: Any = redis.eval(script.source, len(names), *names, *args)
    now_ms, epoch, seq, _, *hashes = reply
    return now_ms, (epoch, seq), hashes


def _log(
    redis: "Redis", bucket: int
) -> tuple[dict[Place, tuple[Row, ...]], tuple[EntryUnreadable, ...]]:
    rows: dict[Place, tuple[Row, ...]] = {}
    unreadable: list[EntryUnreadable] = []
    start = "-"
    while True:
        page: Any = redis.xrange(keys.log(bucket), min=start, count=LOG_PAGE)
        for entry_id, fields in page:
            epoch, seq = entry_id.split(b"-")
            try:
                rows[int(epoch), int(seq)] = decode(bucket, entry_id, fields)
            except EntryUnreadable as error:
                unreadable.append(error)
        if len(page) < LOG_PAGE:
            return rows, tuple(unreadable)
        start = f"({page[-1][0].decode()}"
