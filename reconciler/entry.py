"""Log entries, as the scripts write them, read into the rows of the ledger. Pure.

A bucket's rows are chained: each carries a hash of the row before it and of itself, so that a row altered or removed
in Postgres shows, and which one it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from hashlib import blake2b
from operator import attrgetter
from typing import Any

import msgpack
import msgspec

FORMATS = frozenset({b"1"})
"""Entry formats this release reads: its own and the one before it."""
VERBS = frozenset({"consume", "track", "capture", "reverse", "adjust"})
CHAIN_BYTES = 16
TIME_MAX_MS = 253_402_300_799_999
"""The last instant that a date can express, 9999-12-31: a period that never ends is kept as ending there."""
_ITEM_FIELDS = 13
_STAMP_NAMES = {"r": "request", "i": "idempotencyKey", "m": "metadata", "u": "route"}
_canonical_json = msgspec.json.Encoder(order="sorted").encode


class EntryUnreadable(Exception):
    """An entry of the log is not what this release reads; copying its bucket stops before it."""

    def __init__(self, bucket: int, entry_id: str, why: str) -> None:
        super().__init__(f"log entry {bucket:04d}-{entry_id}: {why}")
        self.bucket, self.entry_id, self.why = bucket, entry_id, why


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One feature of one decision. Quantities in base units, cost at scale 9, times in ms."""

    bucket: int
    epoch: int
    seq: int
    item: int
    at_ms: int
    verb: str
    customer: str
    feature: str
    quantity: int
    included: int
    rollover: int
    credits: int
    overage: int
    beyond: int
    cost_nano: int
    period_start_ms: int
    period_end_ms: int
    segment: int
    used_after: int
    overage_after: int
    entitlement: int
    plan: str
    catalog: int
    source: str
    stamp: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The decision's id on the wire."""
        return f"{self.bucket:04d}-{self.epoch}-{self.seq}"

    @property
    def place(self) -> tuple[int, int]:
        """Where in its bucket's log it stands."""
        return self.epoch, self.seq


ROW_FIELDS = tuple(field.name for field in fields(Row))
_values_of = attrgetter(*ROW_FIELDS)


def decode(bucket: int, entry_id: bytes, entry: Mapping[bytes, bytes]) -> tuple[Row, ...]:
    """The rows of one entry. Raises EntryUnreadable."""
    try:
        return _rows(bucket, entry_id.decode(), entry)
    except (KeyError, ValueError, TypeError, msgpack.UnpackException) as error:
        why = f"{type(error).__name__}: {error}"
        raise EntryUnreadable(bucket, entry_id.decode(errors="replace"), why) from error


def _rows(bucket: int, entry_id: str, entry: Mapping[bytes, bytes]) -> tuple[Row, ...]:
    if entry[b"f"] not in FORMATS:
        raise ValueError(f"format {entry[b'f']!r} is not one this release reads")
    epoch, seq = (int(part) for part in entry_id.split("-"))
    verb = entry[b"v"].decode()
    if verb not in VERBS:
        raise ValueError(f"verb {verb!r} is unknown")
    stamp = msgpack.unpackb(entry[b"s"], unicode_errors="replace", strict_map_key=False)
    shared = {
        "bucket": bucket,
        "epoch": epoch,
        "seq": seq,
        "at_ms": int(entry[b"t"]),
        "verb": verb,
        "customer": entry[b"c"].decode(),
        "entitlement": int(stamp.pop("e")),
        "plan": str(stamp.pop("p")),
        "catalog": int(stamp.pop("c")),
        "source": str(stamp.pop("k")),
        "stamp": {_STAMP_NAMES.get(name, name): storable(v) for name, v in stamp.items()},
    }
    texts = entry[b"i"].decode().split(";")
    return tuple(_row(shared, number, text) for number, text in enumerate(texts))


def _row(shared: dict[str, Any], number: int, text: str) -> Row:
    feature, *numbers = text.split(",")
    if len(numbers) != _ITEM_FIELDS - 1:
        raise ValueError(f"item {number} has {len(numbers) + 1} fields, not {_ITEM_FIELDS}")
    quantity, included, rollover, credits_, overage, beyond, cost, *rest = map(int, numbers)
    start, end, segment, used_after, overage_after = rest
    if quantity != included + rollover + credits_ + overage + beyond:
        raise ValueError(f"item {number}: the sources do not add up to {quantity}")
    if segment < 1:
        raise ValueError(f"item {number}: segment {segment}")
    return Row(
        **shared,
        item=number,
        feature=feature,
        quantity=quantity,
        included=included,
        rollover=rollover,
        credits=credits_,
        overage=overage,
        beyond=beyond,
        cost_nano=cost,
        period_start_ms=start,
        period_end_ms=min(end, TIME_MAX_MS),
        segment=segment,
        used_after=used_after,
        overage_after=overage_after,
    )


def storable(value: Any) -> Any:
    """The same value without what Postgres cannot keep in jsonb: NUL, bytes, nan and infinities."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, Mapping):
        return {storable(str(name)): storable(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(inner) for inner in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    number = Decimal(str(value))
    return value if number.is_finite() else str(value)


def link(previous: bytes, row: Row) -> bytes:
    """The chain value of a row that follows one with chain value `previous`."""
    values = list(_values_of(row))
    values[-1] = _canonical(row.stamp)
    return blake2b(previous + _canonical_json(values), digest_size=CHAIN_BYTES).digest()


def _canonical(value: Any) -> Any:
    """One spelling for equal values: 1e2, 100.0 and 100 come back from jsonb as one another."""
    if isinstance(value, Mapping):
        return {name: _canonical(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    return f"{Decimal(str(value)).normalize():f}"
