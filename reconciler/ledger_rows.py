"""Reads rows of the ledger back, as they were copied."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from psycopg import Connection

from reconciler.clock import milliseconds
from reconciler.entry import ROW_FIELDS, Row
from reconciler.sql import queries

ROWS_FETCHED = 5_000
"""Rows that are in memory at once."""
_TIMES = tuple(ROW_FIELDS.index(name) for name in ("at_ms", "period_start_ms", "period_end_ms"))
_COST = ROW_FIELDS.index("cost_nano")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """A row and the chain value kept with it."""

    row: Row
    chain: bytes


def read_rows(connection: Connection[Any], buckets: Sequence[int]) -> Iterator[LedgerRow]:
    """The rows of some buckets, bucket by bucket in the order of its log. Needs an open transaction."""
    with connection.cursor(name="ledger_rows") as cursor:
        cursor.itersize = ROWS_FETCHED
        cursor.execute(queries["decisions_of_buckets"], {"buckets": list(buckets)})
        for *values, chain in cursor:
            yield LedgerRow(row=_row(values), chain=bytes(chain))


def _row(values: list[Any]) -> Row:
    for place in _TIMES:
        values[place] = milliseconds(values[place])
    # Exact: the table holds nine digits, and sixteen before them at most.
    values[_COST] = int(Decimal(values[_COST]).scaleb(9))
    return Row(**dict(zip(ROW_FIELDS, values, strict=True)))
