"""`tallygate explain`: why a decision was what it was, or where a customer stands."""

import re
from typing import Any

import click

from deploy.cli.api import OK, Refused, Session, path_of, verb
from deploy.cli.decisions import describe

DECISION = re.compile(r"(d-.+|\d{4}-\d+-\d+)")
DENIALS_SHOWN = 5


@click.command()
@click.argument("what", metavar="CUSTOMER|DECISION")
@verb
def explain(session: Session, what: str) -> int:
    """Why a DECISION was what it was; or what CUSTOMER has left and was denied lately.

    Example: tallygate explain 0042-17-9983
    """
    if DECISION.fullmatch(what):
        try:
            found = session.control("GET", path_of("decisions", what))
        except Refused as error:
            # A customer's id may look like a decision's.
            if error.status != 404:
                raise
        else:
            session.show(found, _receipt(found))
            return OK
    balances = session.gateway("GET", path_of("customers", what, "balances"))
    path = path_of("customers", what, "decisions")
    denials = session.control("GET", path, allowed="false", limit=DENIALS_SHOWN)["data"]
    session.show({"balances": balances, "denials": denials}, _standing(what, balances, denials))
    return OK


def _receipt(found: dict[str, Any]) -> str:
    if "message" in found:
        return describe(found)
    return "\n".join(f"{name}: {value}" for name, value in found.items())


def _standing(customer: str, balances: dict[str, Any], denials: list[dict[str, Any]]) -> str:
    lines = [f"{customer} is on {balances.get('plan')} (catalog {balances.get('catalog')})"]
    for name, feature in balances.get("features", {}).items():
        lines.append(f"  {name}: {feature.get('message') or feature.get('reason')}")
    lines.append("lately denied:" if denials else "nothing denied lately")
    for denial in denials:
        # A denial is shipped with the whole decision; a receipt of the ledger has the numbers only.
        told = denial.get("message") or denial.get("reason")
        lines.append(f"  {denial.get('at', '')} {denial.get('decision', '')} {told}".rstrip())
    return "\n".join(lines)
