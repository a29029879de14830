"""`tallygate invoice`: what will be billed, what is due, what was billed."""

from typing import Any

import click

from deploy.cli.api import Session, as_table, path_of, verb


@click.group()
def invoice() -> None:
    """Preview, issue and show invoices."""


@invoice.command()
@click.argument("customer")
@verb
def preview(session: Session, customer: str) -> None:
    """The invoice of CUSTOMER's running period, as of this instant.

    Example: tallygate invoice preview acme
    """
    found = session.control("GET", path_of("customers", customer, "invoices", "upcoming"))
    session.show(found, describe(found))


@invoice.command()
@verb
def issue(session: Session) -> None:
    """Issue every invoice whose period has ended and whose grace is over; each exactly once."""
    answer = session.control("POST", "/v1/invoices/run", {})
    issued = answer.get("data", answer.get("invoices", []))
    text = "\n\n".join(describe(each) for each in issued if "lines" in each)
    session.show(answer, text or f"{len(issued)} issued")


@invoice.command()
@click.argument("invoice_id", metavar="INVOICE")
@verb
def show(session: Session, invoice_id: str) -> None:
    """One invoice with its lines."""
    found = session.control("GET", path_of("invoices", invoice_id))
    session.show(found, describe(found))


@invoice.command("list")
@click.option("--customer", help="Only this customer's.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--after", help="The cursor that the page before ended with.")
@verb
def list_(session: Session, customer: str | None, limit: int, after: str | None) -> None:
    """One page of invoices."""
    page = session.control("GET", "/v1/invoices", customer=customer, limit=limit, after=after)
    columns = ["id", "number", "status", "customer", "total", "currency"]
    session.show_rows(page["data"], columns)
    if page.get("next"):
        session.note(f"more: --after {page['next']}")


def describe(found: dict[str, Any]) -> str:
    """An invoice as a person reads it."""
    period = found["period"]
    number = "" if found["status"] == "upcoming" else f" {found.get('number') or found['id']}"
    head = f"{found['status']} invoice{number} of {found['customer']}"
    rows = [
        {
            "line": each.get("description") or each["kind"],
            "quantity": each.get("quantity"),
            "amount": each["amount"],
        }
        for each in found["lines"]
    ]
    lines = [head, f"{period['start']} to {period['end']}", ""]
    lines += [as_table(rows, ["line", "quantity", "amount"]), ""]
    for name in ("subtotal", "discount", "creditsApplied", "tax"):
        value = found.get(name)
        if name == "subtotal" or value not in (None, "0", "0.00", "0.000"):
            lines.append(f"{name}: {value}")
    lines.append(f"total: {found['total']} {found['currency']}")
    return "\n".join(lines)
