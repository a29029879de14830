"""What is billed when something changes: customers, prices, subscriptions, in the middle of a period."""

import time
from typing import Any

import pytest

from reconciler.clock import rfc3339
from tests.reconciler.control.plane import CATALOG, Plane

UPCOMING = "/v1/customers/acme/invoices/upcoming"
DAY_MS = 86_400_000

STANDING = """\
currency: USD
features:
  api_calls: {name: API calls, unit: call}
  data: {name: Data, unit: GB, scale: 6}
  ai: {name: AI usage, unit: credit, scale: 6, weights: {"*": {input: 0.5, output: 2}}}
plans:
  pro:
    name: Pro
    price: {model: per_unit, unit: 20}
    features:
      api_calls: {included: 10, overage: charge, price: {model: flat, amount: 7, always: true}}
      data:
        overage: charge
        price: {model: graduated, zero_flat: true, tiers: [{up_to: 1, unit: 0.1, flat: 3}, {unit: 0.05}]}
      ai: {included: 1, overage: charge, price: {model: per_unit, unit: 0.003}}
  yearly: {extends: pro, price: 490, interval: year}
"""


def usage_lines(invoice: Any) -> list[Any]:
    return [line for line in invoice["lines"] if line["kind"] != "base"]


def test_usage_of_an_ended_subscription_is_billed_whatever_becomes_of_the_customer(
    plane: Plane,
) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.run()
    plane.consume("acme", 110)
    plane.ok("DELETE", "/v1/customers/acme/subscription?when=now")
    moved = plane.ask("PUT", "/v1/customers/acme", {"timeZone": "Asia/Kathmandu"})
    paid = plane.ask("PUT", "/v1/customers/acme", {"currency": "EUR"})
    plane.advance("2 hours")
    (last,) = plane.run()["data"]
    assert last["total"] == "1.00"
    assert (moved.status, paid.status) == (422, 422)
    plane.ok("PUT", "/v1/customers/acme", {"timeZone": "Asia/Kathmandu", "currency": "EUR"})


@pytest.mark.parametrize(
    "overrides",
    [{"usage_interval": "week"}, {"interval": "year"}, {"currency": "EUR"}],
)
def test_overrides_do_not_move_the_billing_period(plane: Plane, overrides: Any) -> None:
    plane.push()
    plane.ok("PUT", "/v1/customers/acme", {})
    asked = {"plan": "pro", "overrides": overrides}
    answer = plane.ask("PUT", "/v1/customers/acme/subscription", asked)
    assert answer.status == 422, answer.body


@pytest.mark.parametrize("plan", ["pro", "yearly"])
def test_what_is_owed_without_usage_is_upcoming_and_issued(plane: Plane, plan: str) -> None:
    plane.push(STANDING)
    plane.subscribe("acme", plan, quantity=3)
    first = plane.run()["data"][0]
    assert first["total"] == {"pro": "60.00", "yearly": "490.00"}[plan]
    upcoming = plane.ok("GET", UPCOMING)
    standing = [(line["kind"], line["feature"], line["amount"]) for line in usage_lines(upcoming)]
    assert standing == [("standing", "api_calls", "7.00"), ("standing", "data", "3.00")]
    plane.advance("32 days")
    (issued,) = plane.run()["data"]
    assert issued["lines"] == upcoming["lines"]
    assert issued["total"] == upcoming["total"]


def test_what_was_owed_without_usage_is_part_of_the_price_once_there_is_some(plane: Plane) -> None:
    plane.push(STANDING)
    plane.subscribe("acme")
    plane.run()
    plane.consume("acme", 5)
    plane.consume("acme", 500_000, "data")
    plane.consume("acme", 2_500_001, "ai")
    upcoming = plane.ok("GET", UPCOMING)
    amounts = [(line["kind"], line["feature"], line["exact"]) for line in usage_lines(upcoming)]
    assert amounts == [
        ("usage", "ai", "0.004500003"),
        ("usage", "api_calls", "0"),
        ("standing", "api_calls", "7"),
        ("usage", "data", "3.05"),
    ]
    plane.advance("32 days")
    (issued,) = plane.run()["data"]
    assert issued["lines"] == upcoming["lines"]


@pytest.mark.parametrize("when", ["now", "period_end"])
def test_a_subscription_that_ends_is_billed_what_was_upcoming_without_the_next_base(
    plane: Plane, when: str
) -> None:
    plane.push(STANDING)
    plane.subscribe("acme")
    plane.run()
    plane.consume("acme", 1_500_000, "data")
    plane.advance("5 days")
    before = plane.ok("GET", UPCOMING)
    plane.ok("DELETE", f"/v1/customers/acme/subscription?when={when}")
    if when == "period_end":
        upcoming = plane.ok("GET", UPCOMING)
        assert upcoming["lines"] == usage_lines(before)
    plane.advance("32 days")
    (issued,) = plane.run()["data"]
    without = [{**line, "period": None} for line in usage_lines(before)]
    assert [{**line, "period": None} for line in issued["lines"]] == without
    plane.advance("40 days")
    assert plane.run()["data"] == []


def test_a_price_that_changes_in_mid_period_is_upcoming_as_issued(plane: Plane) -> None:
    plane.push(STANDING)
    plane.subscribe("acme")
    plane.run()
    plane.consume("acme", 2_000_000, "data")
    plane.push(STANDING.replace("amount: 7", "amount: 9").replace("unit: 0.1", "unit: 0.2"), "now")
    plane.consume("acme", 250_000, "data")
    upcoming = plane.ok("GET", UPCOMING)
    assert [(line["kind"], line["exact"]) for line in usage_lines(upcoming)] == [
        ("standing", "9"),
        ("usage", "3.15"),
        ("usage", "3.05"),
    ]
    plane.advance("32 days")
    (issued,) = plane.run()["data"]
    assert issued["lines"] == upcoming["lines"]


def test_what_a_new_price_asks_without_usage_is_owed_though_the_old_one_was_used(
    plane: Plane,
) -> None:
    plane.push(CATALOG)
    plane.subscribe("acme")
    plane.run()
    plane.consume("acme", 5)
    flat = "{model: flat, amount: 7, always: true}"
    graduated = "{model: graduated, tiers: [{up_to: 100, unit: 0.01}, {unit: 0.005}]}"
    plane.push(CATALOG.replace(graduated, flat), "now")
    upcoming = plane.ok("GET", UPCOMING)
    assert [(line["kind"], line["amount"]) for line in usage_lines(upcoming)] == [
        ("usage", "0.00"),
        ("standing", "7.00"),
    ]
    plane.advance("32 days")
    assert plane.run()["data"][0]["lines"] == upcoming["lines"]


def test_a_subscription_begun_in_the_past_owes_what_its_own_plan_asks(plane: Plane) -> None:
    plane.push(STANDING)
    plane.subscribe("acme")
    plane.run()
    plane.ok("DELETE", "/v1/customers/acme/subscription?when=now")
    plane.advance("2 hours")
    plane.run()
    plane.advance("100 days")
    plane.push(CATALOG)
    found = plane.connection.execute("SELECT offset_ms FROM tg.test_clock").fetchone()
    assert found is not None
    starts = rfc3339(time.time_ns() // 1_000_000 + found[0] - 40 * DAY_MS)
    plane.ok("PUT", "/v1/customers/acme/subscription", {"plan": "pro", "startsAt": starts})
    done = plane.run()
    assert done["failed"] == []
    lines = [(line["kind"], line["amount"]) for each in done["data"] for line in each["lines"]]
    assert lines == [("base", "49.00"), ("base", "49.00")]


def test_a_base_price_is_the_one_of_the_instant_at_which_it_is_owed(plane: Plane) -> None:
    plane.push()
    end = plane.subscribe("acme")["period"]["end"]
    plane.push(CATALOG.replace("price: 49", "price: 59"), "now")
    assert plane.run()["data"][0]["total"] == "49.00"
    upcoming = plane.ok("GET", UPCOMING)
    plane.ok("POST", "/v1/clock", {"set": end})
    plane.push(CATALOG.replace("price: 49", "price: 69"), "now")
    plane.advance("2 hours")
    (issued,) = plane.run()["data"]
    assert issued["lines"] == upcoming["lines"]
    assert issued["total"] == "59.00"


def test_a_period_is_never_billed_to_two_subscriptions(plane: Plane) -> None:
    plane.push()
    started = plane.subscribe("acme")
    plane.run()
    plane.consume("acme", 110)
    plane.advance("1 day")
    plane.ok("DELETE", "/v1/customers/acme/subscription?when=now")
    path = "/v1/customers/acme/subscription"
    again = plane.ask("PUT", path, {"plan": "pro", "anchor": started["startsAt"]})
    assert (again.status, again.body["errors"][0]["pointer"]) == (422, "/anchor")
    plane.ok("PUT", path, {"plan": "pro"})
    plane.consume("acme", 60)
    plane.advance("32 days")
    quantities = [line["quantity"] for each in plane.run()["data"] for line in usage_lines(each)]
    plane.advance("32 days")
    quantities += [line["quantity"] for each in plane.run()["data"] for line in usage_lines(each)]
    assert sorted(quantities) == [60, 110]


def test_a_run_that_dies_in_the_middle_leaves_nothing_behind(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.adopt()
    plane.connection.execute(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'killed' USING ERRCODE = 'admin_shutdown'; END$$"
    )
    plane.connection.execute(
        "CREATE TRIGGER die BEFORE UPDATE ON tg.subscriptions FOR EACH ROW EXECUTE FUNCTION die()"
    )
    assert plane.ask("POST", "/v1/invoices/run", {}).status >= 500
    plane.connection.execute("DROP TRIGGER die ON tg.subscriptions")
    (invoice,) = plane.run()["data"]
    assert (invoice["number"], invoice["total"]) == ("INV-000001", "49.00")


def proved(plane: Plane) -> list[Any]:
    return list(plane.ok("GET", "/v1/reconciliation?verify=true")["drift"])


def tamper(plane: Plane, statement: str) -> None:
    """Change a row as somebody with every right in Postgres would."""
    with plane.connection.transaction():
        plane.connection.execute("SET LOCAL session_replication_role = replica")
        assert plane.connection.execute(statement.encode()).rowcount > 0


@pytest.fixture
def billed(plane: Plane) -> Plane:
    """Three invoices: of a void, a final and a draft that was finalized."""
    plane.push()
    plane.subscribe("acme")
    (first,) = plane.run()["data"]
    plane.ok("POST", f"/v1/invoices/{first['id']}/void")
    plane.consume("acme", 110)
    plane.advance("32 days")
    plane.run()
    plane.advance("31 days")
    (draft,) = plane.run(finalize=False)["data"]
    plane.ok("POST", f"/v1/invoices/{draft['id']}/finalize")
    assert proved(plane) == []
    return plane


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (
            'UPDATE tg.invoices SET total = 51, doc = doc || \'{"total": "51.00"}\''
            " WHERE number = 'INV-000002'",
            ["INV-000002"],
        ),
        (
            "UPDATE tg.invoices SET doc = jsonb_set(jsonb_set(jsonb_set(jsonb_set(doc,"
            " '{lines,0,amount}', '\"59.00\"'), '{lines,0,exact}', '\"59\"'),"
            " '{subtotal}', '\"60.00\"'), '{total}', '\"60.00\"'), total = 60"
            " WHERE number = 'INV-000002'",
            ["INV-000002"],
        ),
        ("UPDATE tg.invoices SET customer = 'acme2' WHERE number = 'INV-000003'", ["INV-000003"]),
        ("DELETE FROM tg.invoices WHERE number = 'INV-000002'", ["INV-000002"]),
        ("DELETE FROM tg.invoices WHERE number = 'INV-000003'", ["INV-000003"]),
        ("DELETE FROM tg.invoices WHERE number = 'INV-000001'", ["INV-000001"]),
        (
            "DELETE FROM tg.invoices WHERE number IN ('INV-000002', 'INV-000003')",
            ["INV-000002 to INV-000003"],
        ),
    ],
)
def test_an_invoice_that_was_altered_or_removed_is_named(
    billed: Plane, statement: str, named: list[str]
) -> None:
    tamper(billed, statement)
    found = [each["where"] for each in proved(billed)]
    for each in named:
        assert any(where.startswith(f"invoice {each}") for where in found), found
