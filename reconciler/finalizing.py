"""Finalizing: what gives an invoice its number, for good, and what can still be done with it afterwards."""

from typing import Any, Final

from psycopg import Connection
from psycopg.types.json import Jsonb

from reconciler.clock import instant
from reconciler.sql import queries

SERIES: Final = "INV"


class InvoiceRefused(Exception):
    """The invoice is not in a state in which that can be done."""


def finalize(connection: Connection[Any], invoice_id: str, *, at_ms: int) -> bool:
    """Give a draft its number, once; False when there is no such invoice. Raises InvoiceRefused."""
    row = connection.execute(queries["invoicer_invoice_locked"], {"id": invoice_id}).fetchone()
    if row is None:
        return False
    _, _, status, doc = row
    if status == "void":
        raise InvoiceRefused("The invoice is void.")
    if status == "draft":
        number = next_number(connection)
        connection.execute(
            queries["invoicer_finalize"],
            {
                "id": invoice_id,
                "number": number,
                "now": instant(at_ms),
                "doc": Jsonb({**doc, "number": number, "status": "finalized"}),
            },
        )
    return True


def void(connection: Connection[Any], invoice_id: str) -> bool:
    """Void a final invoice; its number stays taken. False when there is none. Raises InvoiceRefused."""
    row = connection.execute(queries["invoicer_invoice_locked"], {"id": invoice_id}).fetchone()
    if row is None:
        return False
    if row[2] == "draft":
        raise InvoiceRefused("A draft has no number that could be void; finalize it first.")
    if row[2] == "finalized":
        connection.execute(queries["invoicer_void"], {"id": invoice_id})
    return True


def next_number(connection: Connection[Any]) -> str:
    """The next invoice number. The row stays locked until the transaction ends, so none is skipped."""
    row = connection.execute(queries["invoicer_number"], {"series": SERIES}).fetchone()
    assert row is not None, "an upsert returns its row"
    return invoice_number(SERIES, row[0])


def invoice_number(series: str, number: int) -> str:
    """The number as it stands on the invoice."""
    return f"{series}-{number:06d}"
