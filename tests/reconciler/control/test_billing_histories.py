"""Random histories of two customers: what was upcoming is issued, what was decided is billed, and nothing drifts."""

import random
from decimal import Decimal
from typing import Any

import pytest

from lua import keys
from reconciler.billing import read_entitlement
from reconciler.clock import Clock
from tests.reconciler.control.plane import Plane

CUSTOMERS = ("acme", "globex")
PERIODS = 5
STEPS = 9
PRICES = (
    "{model: per_unit, unit: 0.003}",
    "{model: flat, amount: 7, always: true}",
    "{model: graduated, zero_flat: true, tiers: [{up_to: 20, unit: 0.1, flat: 3}, {unit: 0.05}]}",
    "{model: volume, tiers: [{up_to: 30, unit: 0.2}, {unit: 0.1, flat: 1}]}",
    "{model: package, size: 7, amount: 0.5}",
)
CATALOG = """\
currency: USD
features:
  api_calls: {{name: API calls, unit: call}}
  data: {{name: Data, unit: GB, scale: 3}}
  ai: {{name: AI usage, unit: credit, scale: 6}}
plans:
  pro:
    name: Pro
    price: {{model: per_unit, unit: {base}}}
    features:
      api_calls: {{included: 10, reset: {reset}, overage: charge, price: {calls}}}
      data: {{included: {{each: 2}}, overage: {overage}{price}}}
      {ai}
  yearly: {{extends: pro, price: 490, interval: year}}
"""


def catalog(chance: random.Random) -> str:
    overage = chance.choice(["block", "allow", "charge"])
    return CATALOG.format(
        base=chance.choice(["20", "25.5", "0"]),
        reset=chance.choice(["month", "day", "hour", "period"]),
        calls=chance.choice(PRICES),
        overage=overage,
        price=f", price: {chance.choice(PRICES)}" if overage == "charge" else "",
        ai=chance.choice(["ai: {included: 1, overage: allow}", "", "ai: {included: unlimited}"]),
    )


def step(plane: Plane, chance: random.Random, customer: str) -> None:
    path = f"/v1/customers/{customer}"
    action = chance.randrange(13)
    if action < 7:
        now_ms = Clock(test_clock=True).now_ms(plane.connection)
        doc: Any = plane.redis.hget(keys.entitlement(customer), "doc")
        feature = chance.choice(sorted(read_entitlement(doc).at(now_ms).features))
        most = {"api_calls": 40, "data": 9_000, "ai": 2_000_000}[feature]
        plane.consume(customer, chance.randint(1, most), feature)
    elif action == 7:
        plane.push(catalog(chance), chance.choice(["now", "renewal", "keep"]))
    elif action == 8:
        plane.ok("PUT", path, {"suspended": chance.random() < 0.3})
    elif action == 9:
        plane.advance(f"{chance.randint(1, 40)} hours")
    elif action == 10:
        shown = plane.ok("GET", f"{path}/subscription")
        included = chance.choice(["5", "unlimited"])
        overrides = {"features": {"api_calls": {"included": included}}}
        given = chance.choice([{}, overrides])
        body = {"plan": shown["plan"], "overrides": given}
        plane.ok("PUT", f"{path}/subscription", body)
    elif action == 11:
        plane.ok("DELETE", f"{path}/subscription?when=period_end")
    else:
        plane.ok("DELETE", f"{path}/subscription?when=now")
        plane.advance("1 minute")
        plane.ok("PUT", f"{path}/subscription", {"plan": chance.choice(["pro", "yearly"])})


def close_a_period(plane: Plane) -> None:
    """Compare what is upcoming with what is issued for the same period."""
    found = {
        each: plane.ask("GET", f"/v1/customers/{each}/invoices/upcoming") for each in CUSTOMERS
    }
    upcoming = {each: answer.body for each, answer in found.items() if answer.status == 200}
    plane.ok("POST", "/v1/clock", {"set": max(each["period"]["end"] for each in upcoming.values())})
    plane.advance("61 minutes")
    done = plane.run()
    assert (done["waiting"], done["failed"]) == ([], [])
    for customer, expected in upcoming.items():
        issued = [
            each
            for each in done["data"]
            if (each["customer"], each["period"]) == (customer, expected["period"])
        ]
        assert len(issued) == bool(expected["lines"])
        for invoice in issued:
            assert invoice["lines"] == expected["lines"]
            assert invoice["total"] == expected["total"]


@pytest.mark.parametrize("seed", range(3))
def test_upcoming_is_issued_and_every_decision_is_billed_once(plane: Plane, seed: int) -> None:
    chance = random.Random(seed)
    plane.push(catalog(chance))
    for customer in CUSTOMERS:
        plane.ok("PUT", f"/v1/customers/{customer}", {})
    for _ in range(PERIODS):
        for customer in CUSTOMERS:
            path = f"/v1/customers/{customer}/subscription"
            if plane.ask("GET", path).body.get("status") != "running":
                plan, quantity = chance.choice(["pro", "yearly"]), chance.randint(1, 3)
                plane.ok("PUT", path, {"plan": plan, "quantity": quantity})
        plane.run()
        for _ in range(STEPS):
            step(plane, chance, chance.choice(CUSTOMERS))
        close_a_period(plane)
    assert_billed_once(plane)


def assert_billed_once(plane: Plane) -> None:
    invoices: list[Any] = plane.ok("GET", "/v1/invoices?limit=1000")["data"]
    numbers = sorted(int(each["number"].removeprefix("INV-")) for each in invoices)
    assert numbers == list(range(1, len(invoices) + 1))
    lines = [line for each in invoices for line in each["lines"] if line["kind"] == "usage"]
    billed = sum((Decimal(line["exact"]) for line in lines), Decimal(0))
    recorded = plane.connection.execute(
        "SELECT coalesce(sum(cost), 0) FROM tg.decisions WHERE period_end <="
        " (SELECT max(period_end) FROM tg.invoices i WHERE i.customer = decisions.customer)"
    ).fetchone()
    assert recorded is not None
    assert billed == recorded[0]
    assert plane.ok("GET", "/v1/reconciliation?verify=true")["drift"] == []
