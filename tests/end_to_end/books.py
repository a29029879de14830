"""What the ledger says, read from Postgres through its public views and from nothing else."""

from decimal import Decimal
from typing import Any

import psycopg

from tests.end_to_end.installation import LEDGER_TIMEOUT_S, Installation, wait_until


def ledger_row(installation: Installation, customer: str) -> tuple[int, int, Decimal]:
    """Quantity, number of decisions and cost of everything a customer used."""
    found = _query(
        installation,
        "SELECT coalesce(sum(quantity), 0), coalesce(sum(decisions), 0), coalesce(sum(cost), 0)"
        " FROM tallygate.usage WHERE customer = %s",
        (customer,),
    )
    quantity, decisions, cost = found[0]
    return int(quantity), int(decisions), Decimal(cost)


def ledger_by_customer(installation: Installation) -> dict[str, tuple[int, int, Decimal]]:
    """The same for every customer."""
    rows = _query(
        installation,
        "SELECT customer, sum(quantity), sum(decisions), sum(cost) FROM tallygate.usage GROUP BY customer",
    )
    return {name: (int(used), int(count), Decimal(cost)) for name, used, count, cost in rows}


def wait_for_ledger(installation: Installation, decisions: int) -> None:
    """Until the ledger has so many decisions; it must never have more."""

    def count() -> int:
        return int(_query(installation, "SELECT count(*) FROM tallygate.decisions")[0][0])

    wait_until(lambda: count() >= decisions, LEDGER_TIMEOUT_S, lambda: f"{count()} of {decisions}")
    assert count() == decisions


def _query(installation: Installation, text: str, values: tuple[Any, ...] = ()) -> list[Any]:
    with psycopg.connect(installation.database_url) as connection:
        return connection.execute(text.encode(), values).fetchall()
