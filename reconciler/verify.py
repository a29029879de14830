"""Verify: counter == log == ledger == invoice, or which row is not. Nothing is changed."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

import msgpack
from psycopg import Connection
from redis import Redis

from gateway.pricing.money import round_amount
from lua import keys
from reconciler.bucket_proof import BucketProof
from reconciler.clock import instant, parse_rfc3339
from reconciler.documents import EntitlementDocuments
from reconciler.drift import Drift
from reconciler.finalizing import invoice_number
from reconciler.ledger import read_epoch_ends, read_positions
from reconciler.ledger_rows import read_rows
from reconciler.recount import Recount
from reconciler.snapshot import Pairs, read_buckets
from reconciler.sql import queries

DRIFT_MAX = 1_000
"""So many differences are told; more would say nothing new."""

GROUP = 32
"""Buckets whose logs are in memory at once."""

PairsByBucket = dict[int, dict[str, set[str]]]


def verify(connection: Connection[Any], redis: "Redis") -> list[Drift]:
    """Every difference that can be found while decisions go on; none is the proof.

    `connection` must have no transaction open.
    """
    drift = verify_buckets(connection, redis, range(keys.BUCKETS))
    return (drift + verify_books(connection))[:DRIFT_MAX]


def verify_buckets(
    connection: Connection[Any], redis: "Redis", buckets: Sequence[int]
) -> list[Drift]:
    """Counter == log == ledger, for some buckets."""
    drift: list[Drift] = []
    pairs = _pairs(connection, frozenset(buckets))
    for first in range(0, len(buckets), GROUP):
        group = {b: pairs.get(b, {}) for b in buckets[first : first + GROUP]}
        drift += _prove_group(connection, redis, group)
        if len(drift) >= DRIFT_MAX:
            break
    return drift


def verify_books(connection: Connection[Any]) -> list[Drift]:
    """Ledger == rollups == invoices, all of them at one instant."""
    with connection.transaction():
        connection.execute(queries["read_one_instant"])
        return [*_rollups(connection), *_invoice_chain(connection), *_invoices(connection)]


def _pairs(connection: Connection[Any], buckets: frozenset[int]) -> PairsByBucket:
    """Every customer with the features that may have a counter."""
    pairs: PairsByBucket = defaultdict(lambda: defaultdict(set))
    with connection.transaction():
        for customer, doc in connection.execute(queries["newest_entitlements"]):
            if doc and (bucket := keys.bucket_of(customer)) in buckets:
                pairs[bucket][customer].update(_features(msgpack.unpackb(doc)))
        for customer, feature in connection.execute(queries["features_used"]):
            if (bucket := keys.bucket_of(customer)) in buckets:
                pairs[bucket][customer].add(feature)
    return pairs


def _features(document: dict[str, Any] | None) -> Iterator[str]:
    """The features of an entitlement and of what follows it."""
    while document is not None:
        yield from document["features"]
        document = document["next"]


def _prove_group(
    connection: Connection[Any], redis: "Redis", pairs: Mapping[int, Pairs]
) -> list[Drift]:
    # Redis before Postgres: what the counters have counted is then in the log, in Postgres, or in both.
    snapshots = read_buckets(redis, pairs)
    buckets = list(pairs)
    drift: list[Drift] = []
    with connection.transaction():
        connection.execute(queries["read_one_instant"])
        positions = read_positions(connection, buckets)
        ends = read_epoch_ends(connection, buckets)
        losses = connection.execute(queries["losses"], {"buckets": buckets}).fetchall()
        documents = EntitlementDocuments(connection)
        rows = groupby(read_rows(connection, buckets), key=lambda each: each.row.bucket)
        following = next(rows, None)
        for bucket in sorted(buckets):
            proof = BucketProof(
                snapshots[bucket],
                Recount(documents),
                position=positions[bucket],
                losses=[tuple(loss[1:]) for loss in losses if loss[0] == bucket],
                epoch_ends=ends.get(bucket, {}),
            )
            if following is not None and following[0] == bucket:
                drift += proof.prove(following[1])
                following = next(rows, None)
            else:
                drift += proof.prove(())
    return drift


def _rollups(connection: Connection[Any]) -> Iterator[Drift]:
    for row in connection.execute(queries["rollup_differences"], {"limit": DRIFT_MAX}).fetchall():
        customer, feature, period_start, segment, source, quarter, *sums = row
        counted, kept, cost, cost_kept = sums
        yield Drift(
            kind="rollup",
            where=(
                f"usage of {customer} {feature}, period {period_start.isoformat()}, "
                f"segment {segment}, source {source}, quarter {quarter.isoformat()}"
            ),
            message=f"quantity {kept}, cost {cost_kept}; its decisions have {counted}, {cost}",
        )


def _invoice_chain(connection: Connection[Any]) -> Iterator[Drift]:
    """Every invoice is as it was numbered, and no number is without its invoice."""
    found = connection.execute(queries["invoice_chain"], {"limit": DRIFT_MAX}).fetchall()
    for series, before, number, id_, good in found:
        if number > before + 1:
            last = "" if number == before + 2 else f" to {invoice_number(series, number - 1)}"
            where = f"invoice {invoice_number(series, before + 1)}{last}"
            yield Drift(kind="invoice", where=where, message="the number was given, and it is gone")
        elif not good:
            yield Drift(
                kind="invoice",
                where=f"invoice {invoice_number(series, number)} ({id_})",
                message="it is not as it was when it was finalized, or the one before it is not",
            )


def _invoices(connection: Connection[Any]) -> Iterator[Drift]:
    for row in connection.execute(queries["finalized_invoices"]).fetchall():
        id_, number, customer, currency, start, end, total, doc = row
        where = f"invoice {number} ({id_})"
        for message in _sums_wrong(doc, total, currency):
            yield Drift(kind="invoice", where=where, message=message)
        for message in _usage_wrong(connection, customer, start, end, doc):
            yield Drift(kind="invoice", where=where, message=message)


def _sums_wrong(doc: dict[str, Any], total: Decimal, currency: str) -> Iterator[str]:
    amounts = Decimal(0)
    for line in doc["lines"]:
        amount = Decimal(line["amount"])
        amounts += amount
        if round_amount(Decimal(line["exact"]), currency) != amount:
            yield f"line {line['description']!r}: {line['exact']} is not rounded to {amount}"
    if amounts != Decimal(doc["subtotal"]):
        yield f"the lines add up to {amounts}, the subtotal is {doc['subtotal']}"
    if Decimal(doc["total"]) != total:
        yield f"the document's total is {doc['total']}, the row's {total}"


def _usage_wrong(
    connection: Connection[Any],
    customer: str,
    start: datetime,
    end: datetime,
    doc: dict[str, Any],
) -> Iterator[str]:
    """Do the usage lines say what the ledger says, and is nothing of the period left out?"""
    found = connection.execute(
        queries["usage_of_span"], {"customer": customer, "start": start, "end": end}
    ).fetchall()
    billed = set()
    for line in doc["lines"]:
        if line["kind"] != "usage":
            continue
        key = (line["feature"], line["segment"])
        billed.add(key)
        said = (_base_units(line["quantity"]), Decimal(line["exact"]))
        at = instant(parse_rfc3339(line["period"]["start"]))
        # A line's period may begin within a billing period, where a subscription did.
        sums = [tuple(row[4:]) for row in found if row[:2] == key and row[2] <= at < row[3]]
        if said not in sums:
            yield f"{_segment(*key)}: billed {_used(*said)}, the ledger has {_used(*(sums or [(0, 0)])[-1])}"
    for feature, segment, period_start, _, *sums in found:
        if start <= period_start < end and any(sums) and (feature, segment) not in billed:
            yield f"{_segment(feature, segment)}: not billed, the ledger has {_used(*sums)}"


def _segment(feature: str, segment: int) -> str:
    return f"{feature}, segment {segment}"


def _used(quantity: int, cost: Decimal) -> str:
    return f"{quantity} base units for {cost}"


def _base_units(quantity: int | str) -> int:
    """A quantity as an invoice shows it, all its digits given, in base units."""
    return int(str(quantity).replace(".", ""))
