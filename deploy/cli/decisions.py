"""`tallygate check`, `consume`, `track` and `balances`: ask the gateway as an operator."""

from typing import Any

import click

from deploy.cli.api import DIFFERENT, OK, Session, path_of, verb


@click.command()
@click.argument("customer")
@click.argument("feature")
@click.argument("quantity", default="1")
@verb
def check(session: Session, customer: str, feature: str, quantity: str) -> int:
    """Ask whether CUSTOMER may use QUANTITY of FEATURE; nothing is counted.

    Example: tallygate check acme api_calls 10
    """
    return _ask(session, "check", {"customer": customer, "feature": feature, "quantity": quantity})


@click.command()
@click.argument("customer")
@click.argument("feature")
@click.argument("quantity", default="1")
@click.option("--idempotency-key", help="The same key has one effect.")
@verb
def consume(
    session: Session, customer: str, feature: str, quantity: str, idempotency_key: str | None
) -> int:
    """Decide on QUANTITY of FEATURE for CUSTOMER and count it. Exit code 1 when denied.

    Example: tallygate consume acme api_calls
    """
    body: dict[str, Any] = {"customer": customer, "feature": feature, "quantity": quantity}
    if idempotency_key is not None:
        body["idempotencyKey"] = idempotency_key
    return _ask(session, "consume", body)


@click.command()
@click.argument("customer")
@click.argument("feature")
@click.argument("quantity", default="1")
@click.option("--at", help="When it happened, RFC 3339; now, when left out.")
@click.option("--idempotency-key", help="The same key has one effect.")
@verb
def track(
    session: Session,
    customer: str,
    feature: str,
    quantity: str,
    at: str | None,
    idempotency_key: str | None,
) -> int:
    """Record QUANTITY of FEATURE that CUSTOMER has used already; never refused for a limit.

    Example: tallygate track acme api_calls 250
    """
    body: dict[str, Any] = {"customer": customer, "feature": feature, "quantity": quantity}
    body |= {"at": at} if at is not None else {}
    body |= {"idempotencyKey": idempotency_key} if idempotency_key is not None else {}
    return _ask(session, "track", body)


@click.command()
@click.argument("customer")
@click.argument("feature", required=False)
@verb
def balances(session: Session, customer: str, feature: str | None) -> int:
    """What CUSTOMER has left, from the numbers that are enforced.

    Example: tallygate balances acme
    """
    parts = [customer, "balances", *([feature] if feature else [])]
    answer = session.gateway("GET", path_of("customers", *parts))
    features = {feature: answer} if feature else answer.get("features", {})
    rows = [{"feature": name, **each} for name, each in features.items()]
    if session.as_json:
        session.show(answer)
    else:
        session.show_rows(rows, ["feature", "balance", "available", "used", "limit", "resetsAt"])
    return OK


def _ask(session: Session, name: str, body: dict[str, Any]) -> int:
    decision = session.gateway("POST", f"/v1/{name}", body)
    session.show(decision, describe(decision))
    return OK if decision["allowed"] else DIFFERENT


def describe(decision: dict[str, Any]) -> str:
    """A decision as a person reads it."""
    word = "allowed" if decision["allowed"] else "denied"
    lines = [f"{word} ({decision['reason']}): {decision['message']}"]
    for window in decision.get("windows") or []:
        limit = "unlimited" if window.get("limit") is None else f"of {window['limit']}"
        resets = f", resets {window['resetsAt']}" if window.get("resetsAt") else ""
        lines.append(f"  {window['name']}: {window['used']} {limit} used{resets}")
    if decision.get("cost") not in (None, "0"):
        lines.append(f"  cost: {decision['cost']} {decision.get('currency', '')}".rstrip())
    for action in decision.get("actions") or []:
        rest = ", ".join(f"{key} {value}" for key, value in action.items() if key != "type")
        lines.append(f"  you can {action['type']}: {rest}")
    if decision.get("decision"):
        lines.append(f"  decision {decision['decision']}")
    return "\n".join(lines)
