"""`tallygate customers`: add, show, change and list customers and what they subscribe to."""

import json
from typing import Any

import click

from deploy.cli.api import Refused, Session, path_of, verb

STATED = (
    "name",
    "email",
    "address",
    "taxId",
    "tax",
    "currency",
    "timeZone",
    "suspended",
    "metadata",
)
"""What a PUT of a customer says."""


@click.group()
def customers() -> None:
    """Add, show, change and list customers."""


@customers.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--after", help="The cursor that the page before ended with.")
@verb
def list_(session: Session, limit: int, after: str | None) -> None:
    """One page of customers."""
    page = session.control("GET", "/v1/customers", limit=limit, after=after)
    session.show_rows(page["data"], ["id", "name", "timeZone", "currency", "suspended"])
    if page.get("next"):
        session.note(f"more: --after {page['next']}")


@customers.command()
@click.argument("customer")
@verb
def show(session: Session, customer: str) -> None:
    """Everything known about CUSTOMER."""
    session.show(session.control("GET", path_of("customers", customer)))


@customers.command()
@click.argument("customer")
@click.option("--name")
@click.option("--email")
@click.option("--time-zone", help="IANA name, such as Europe/Berlin.")
@click.option("--currency", help="Three letters; the plan's, when left out.")
@click.option("--suspend/--resume", default=None, help="Deny everything, or no longer.")
@verb
def put(
    session: Session,
    customer: str,
    name: str | None,
    email: str | None,
    time_zone: str | None,
    currency: str | None,
    suspend: bool | None,
) -> None:
    """Add CUSTOMER, or change what is named.

    Example: tallygate customers put acme --name Acme --time-zone Europe/Berlin
    """
    path = path_of("customers", customer)
    given = {"name": name, "email": email, "timeZone": time_zone, "currency": currency}
    changes: dict[str, Any] = {**given, "suspended": suspend}
    # A PUT states the whole customer, so what is not named here is sent as it was.
    body = _stated(session, path)
    body |= {key: value for key, value in changes.items() if value is not None}
    session.show(session.control("PUT", path, body))


@customers.command()
@click.argument("customer")
@click.argument("plan")
@click.option("--quantity", type=click.IntRange(min=1), help="How many of the plan.")
@click.option("--starts-at", help="RFC 3339; now, when left out.")
@click.option("--anchor", help="RFC 3339: where billing periods are counted from.")
@click.option("--overrides", help="JSON, merged over the plan.")
@verb
def subscribe(
    session: Session,
    customer: str,
    plan: str,
    quantity: int | None,
    starts_at: str | None,
    anchor: str | None,
    overrides: str | None,
) -> None:
    """Subscribe CUSTOMER to PLAN.

    Example: tallygate customers subscribe acme pro
    """
    given = {"plan": plan, "quantity": quantity, "startsAt": starts_at, "anchor": anchor}
    body: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if overrides is not None:
        body["overrides"] = json.loads(overrides)
    session.show(session.control("PUT", path_of("customers", customer, "subscription"), body))


@customers.command()
@click.argument("customer")
@verb
def delete(session: Session, customer: str) -> None:
    """Delete CUSTOMER."""
    session.show(session.control("DELETE", path_of("customers", customer)), f"deleted {customer}")


def _stated(session: Session, path: str) -> dict[str, Any]:
    try:
        known = session.control("GET", path)
    except Refused as error:
        if error.status == 404:
            return {}
        raise
    return {name: known[name] for name in STATED if known.get(name) is not None}
