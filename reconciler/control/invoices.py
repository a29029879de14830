"""Invoices: the upcoming one, the run that issues those that are due, and those there are."""

import csv
import io
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from gateway.pricing.segment import UsageNotRated
from gateway.pricing.window import format_instant
from reconciler.billing import EntitlementUnknown
from reconciler.clock import instant, milliseconds
from reconciler.control.call import Answer, Call, Operation, Parts, choice_of, limit_of
from reconciler.control.errors import Conflict, Invalid, NotFound, NotSupportedYet, Unavailable
from reconciler.control.invoice_page import render_invoice
from reconciler.control.pages import answer_page, cursor, read_cursor
from reconciler.finalizing import InvoiceRefused, finalize, void
from reconciler.invoicer import Invoicer
from reconciler.phases import account_of
from reconciler.sql import queries
from reconciler.upcoming import NothingRunning, Upcoming, upcoming

_COLUMNS = (
    "kind",
    "feature",
    "description",
    "quantity",
    "amount",
    "exact",
    "start",
    "end",
    "catalog",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class RunBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which invoices to make."""

    customer: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    """Only this customer's."""
    finalize: bool = True
    """Otherwise drafts are made, without a number."""


def get_upcoming(parts: Parts, call: Call) -> Answer:
    """The invoice that would close the running period now."""
    call.queries()
    customer = call.customer
    try:
        try:
            with parts.postgres() as connection, connection.transaction():
                if account_of(connection, customer) is None:
                    raise NotFound(f"There is no customer {customer!r}.")
                found = upcoming(connection, parts.redis, customer)
        except (psycopg.OperationalError, PoolTimeout):
            found = upcoming(None, parts.redis, customer)
    except NothingRunning as error:
        raise NotFound(str(error), code="no_subscription") from None
    except EntitlementUnknown as error:
        raise Unavailable(str(error)) from None
    except UsageNotRated as error:
        raise Conflict(str(error), code="usage_not_rated") from None
    return Answer(body=_upcoming(found))


def run(parts: Parts, call: Call) -> Answer:
    """Issue every invoice that is due."""
    call.queries()
    body = call.struct(RunBody)
    invoicer = Invoicer(
        redis=parts.redis,
        clock=parts.clock,
        grace_ms=parts.settings.invoice_grace_ms,
        finalize=body.finalize,
    )
    with parts.postgres() as connection:
        if body.customer is not None and account_of(connection, body.customer) is None:
            raise Invalid.at("/customer", f"There is no customer {body.customer!r}.")
        done = invoicer.run(connection, body.customer)
        rows = connection.execute(queries["control_invoices_by_id"], {"ids": done.issued})
        shown = [_plain(row) for row in rows.fetchall()]
    return Answer(
        body={
            "data": shown,
            "withoutLines": done.without_lines,
            "waiting": done.waiting,
            "failed": done.failed,
            "more": done.more,
        }
    )


def list_invoices(parts: Parts, call: Call) -> Answer:
    """Invoices, the newest first."""
    asked = call.queries("customer", "status", "limit", "after")
    limit = limit_of(asked)
    status = choice_of(asked, "status", ("draft", "finalized", "void", ""), "")
    after = read_cursor(asked["after"], int, str) if "after" in asked else None
    with parts.postgres() as connection:
        rows = connection.execute(
            queries["control_invoices"],
            {
                "customer": asked.get("customer"),
                "status": status or None,
                "before": None if after is None else instant(after[0]),
                "before_id": None if after is None else after[1],
                "limit": limit + 1,
            },
        ).fetchall()
    return answer_page(rows, limit, lambda row: cursor(milliseconds(row[4]), row[0]), shown=_plain)


def get_invoice(parts: Parts, call: Call) -> Answer:
    """One invoice as JSON, or as the page or table its name ends with."""
    call.queries()
    invoice_id, _, form = call.part("id").partition(".")
    if form == "pdf":
        raise NotSupportedYet("Invoices as PDF are not supported yet; .html can be printed.")
    if form not in ("", "html", "csv"):
        raise NotFound(f"An invoice has no form .{form}; there is .html and .csv.")
    shown = _one(parts, invoice_id)
    if form == "html":
        return Answer(body=render_invoice(shown).encode(), media_type="text/html; charset=utf-8")
    if form == "csv":
        return Answer(body=_table(shown).encode(), media_type="text/csv; charset=utf-8")
    return Answer(body=shown)


def post_finalize(parts: Parts, call: Call) -> Answer:
    """Give a draft its number."""
    call.queries()
    invoice_id = call.part("id")
    with parts.postgres() as connection:
        try:
            with connection.transaction():
                now_ms = parts.clock.now_ms(connection)
                if not finalize(connection, invoice_id, at_ms=now_ms):
                    raise NotFound("There is no such invoice.")
        except InvoiceRefused as error:
            raise Conflict(str(error), code="invoice_state") from None
    return Answer(body=_one(parts, invoice_id))


def post_void(parts: Parts, call: Call) -> Answer:
    """Void an invoice; its number stays taken."""
    call.queries()
    invoice_id = call.part("id")
    with parts.postgres() as connection:
        try:
            with connection.transaction():
                if not void(connection, invoice_id):
                    raise NotFound("There is no such invoice.")
        except InvoiceRefused as error:
            raise Conflict(str(error), code="invoice_state") from None
    return Answer(body=_one(parts, invoice_id))


def _one(parts: Parts, invoice_id: str) -> dict[str, Any]:
    with parts.postgres() as connection:
        row = connection.execute(
            queries["control_invoices_by_id"], {"ids": [invoice_id]}
        ).fetchone()
    if row is None:
        raise NotFound("There is no such invoice.")
    return _plain(row)


def _plain(row: Any) -> dict[str, Any]:
    _, number, status, doc, created_at, finalized_at = row
    return {
        **doc,
        "number": number,
        "status": status,
        "createdAt": format_instant(milliseconds(created_at)),
        "finalizedAt": finalized_at and format_instant(milliseconds(finalized_at)),
    }


def _upcoming(found: Upcoming) -> dict[str, Any]:
    return {**found.to_plain(), "at": format_instant(found.at_ms)}


def _table(shown: Mapping[str, Any]) -> str:
    """The lines as CSV; text that a spreadsheet would take for a formula is quoted as text."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("invoice", "currency", *_COLUMNS))
    for line in shown["lines"]:
        cells = {**line, "start": line["period"]["start"], "end": line["period"]["end"]}
        texts = [str(cells.get(name) if cells.get(name) is not None else "") for name in _COLUMNS]
        writer.writerow(
            (shown["number"] or shown["id"], shown["currency"], *(_cell(t) for t in texts))
        )
    return out.getvalue()


def _cell(text: str) -> str:
    is_number = text.lstrip("-").replace(".", "", 1).isdigit()
    return f"'{text}" if text.startswith(_FORMULA) and not is_number else text


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/customers/{customer}/invoices/upcoming",
        endpoint=get_upcoming,
        summary="The running period's invoice, equal to the enforcement state at that instant",
        scope="read",
    ),
    Operation(
        method="POST",
        path="/v1/invoices/run",
        endpoint=run,
        summary="Issue every invoice that is due; repeat while `more`",
        scope="admin",
        body=RunBody,
    ),
    Operation(
        method="GET",
        path="/v1/invoices",
        endpoint=list_invoices,
        summary="Invoices, the newest first",
        scope="read",
        query={
            "customer": "only this customer's",
            "status": "draft, finalized or void",
            "limit": "rows, 1 to 1000",
            "after": "the cursor that an answer called next",
        },
    ),
    Operation(
        method="GET",
        path="/v1/invoices/{id}",
        endpoint=get_invoice,
        summary="One invoice; the id may end in .html or .csv",
        scope="read",
    ),
    Operation(
        method="POST",
        path="/v1/invoices/{id}/finalize",
        endpoint=post_finalize,
        summary="Give a draft its number",
        scope="admin",
    ),
    Operation(
        method="POST",
        path="/v1/invoices/{id}/void",
        endpoint=post_void,
        summary="Void an invoice; its number stays taken",
        scope="admin",
    ),
)
