import threading
from decimal import Decimal
from typing import Any

from reconciler.upcoming import upcoming
from tests.reconciler.control.plane import CATALOG, Plane

UPCOMING = "/v1/customers/acme/invoices/upcoming"


def lines_of(invoice: Any, kind: str) -> list[Any]:
    return [line for line in invoice["lines"] if line["kind"] == kind]


def test_the_first_invoice_holds_the_base_price_of_the_first_period(plane: Plane) -> None:
    plane.push()
    started = plane.subscribe("acme")
    (invoice,) = plane.run()["data"]
    assert (invoice["number"], invoice["status"], invoice["total"]) == (
        "INV-000001",
        "finalized",
        "49.00",
    )
    assert invoice["period"]["start"] == invoice["period"]["end"] == started["startsAt"]
    (base,) = invoice["lines"]
    assert (base["kind"], base["period"]) == ("base", started["period"])
    assert plane.run()["data"] == []


def test_a_period_is_billed_once_with_its_usage_and_the_next_base_price(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.run()
    plane.consume("acme", 150)
    plane.advance("32 days")
    (invoice,) = plane.run()["data"]
    (usage,) = lines_of(invoice, "usage")
    assert (usage["quantity"], usage["included"], usage["overage"]) == (150, 10, 140)
    assert Decimal(usage["exact"]) == 100 * Decimal("0.01") + 40 * Decimal("0.005")
    assert usage["amount"] == "1.20"
    assert [tier["quantity"] for tier in usage["tiers"]] == ["100", "40"]
    assert lines_of(invoice, "base")[0]["amount"] == "49.00"
    assert invoice["total"] == "50.20"
    assert plane.run()["data"] == []


def test_the_upcoming_invoice_is_what_the_period_is_billed_for(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.run()
    plane.consume("acme", 150)
    plane.consume("acme", 1_500_000, "data")
    upcoming = plane.ok("GET", UPCOMING)
    assert (upcoming["status"], upcoming["partial"]) == ("upcoming", False)
    plane.advance("32 days")
    (invoice,) = plane.run()["data"]
    assert upcoming["lines"] == invoice["lines"]
    assert upcoming["total"] == invoice["total"] == "50.33"
    assert upcoming["period"] == invoice["period"]
    (data,) = [line for line in lines_of(invoice, "usage") if line["feature"] == "data"]
    assert (data["quantity"], data["amount"]) == ("1.500000", "0.13")


def test_without_postgres_the_upcoming_invoice_has_its_usage_lines(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.consume("acme", 110)
    whole = plane.ok("GET", UPCOMING)
    partial = upcoming(None, plane.redis, "acme").to_plain()
    assert partial["partial"] is True
    assert partial["lines"] == lines_of(whole, "usage")


def test_the_upcoming_invoice_needs_no_ledger(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.consume("acme", 110)
    (usage,) = lines_of(plane.ok("GET", UPCOMING), "usage")
    assert (usage["quantity"], usage["amount"]) == (110, "1.00")


def test_a_change_of_price_begins_a_segment_and_a_line_of_its_own(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.run()
    plane.consume("acme", 60)
    plane.push(CATALOG.replace("up_to: 100, unit: 0.01", "up_to: 100, unit: 0.02"), "now")
    plane.consume("acme", 30)
    upcoming = plane.ok("GET", UPCOMING)
    amounts = [(line["segment"], line["amount"]) for line in lines_of(upcoming, "usage")]
    assert amounts == [(1, "0.50"), (2, "0.60")]
    plane.advance("32 days")
    (invoice,) = plane.run()["data"]
    assert lines_of(invoice, "usage") == lines_of(upcoming, "usage")
    assert [line["catalog"] for line in lines_of(invoice, "usage")] == [1, 2]


def test_a_renewal_is_billed_at_the_price_it_renews_to(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.run()
    plane.push(CATALOG.replace("price: 49", "price: 59"))
    upcoming = plane.ok("GET", UPCOMING)
    plane.advance("32 days")
    (invoice,) = plane.run()["data"]
    (base,) = lines_of(invoice, "base")
    assert (base["amount"], base["catalog"]) == ("59.00", 2)
    assert lines_of(upcoming, "base") == [base]
    plane.advance("31 days")
    assert lines_of(plane.run()["data"][0], "base")[0]["amount"] == "59.00"


def test_a_period_waits_for_its_grace(plane: Plane) -> None:
    plane.push()
    end = plane.subscribe("acme")["period"]["end"]
    plane.run()
    plane.consume("acme", 5)
    plane.ok("POST", "/v1/clock", {"set": end})
    assert plane.run()["data"] == []
    plane.advance("1 hour")
    assert len(plane.run()["data"]) == 1


def test_many_runs_at_once_make_each_invoice_once_and_skip_no_number(plane: Plane) -> None:
    plane.push()
    for number in range(12):
        plane.subscribe(f"customer-{number}")
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(plane.ask("POST", "/v1/invoices/run", {})))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 4
    made = [each["number"] for answer in answers for each in answer.body["data"]]
    assert sorted(made) == [f"INV-{number:06d}" for number in range(1, 13)]


def test_a_year_is_billed_once_and_its_usage_every_month(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme", "yearly")
    first = plane.run()["data"][0]
    assert (first["total"], len(lines_of(first, "base"))) == ("490.00", 1)
    plane.consume("acme", 20)
    plane.advance("32 days")
    (month,) = plane.run()["data"]
    assert lines_of(month, "base") == []
    assert month["total"] == "0.10"


def test_a_free_plan_without_usage_makes_no_invoice(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme", "free")
    plane.advance("70 days")
    done = plane.run()
    assert (done["data"], done["failed"]) == ([], [])
    assert done["withoutLines"] == 3


def test_a_subscription_that_ended_is_billed_for_what_was_used(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.run()
    plane.consume("acme", 20)
    plane.advance("5 days")
    ended = plane.ok("DELETE", "/v1/customers/acme/subscription?when=now")["endsAt"]
    assert plane.ask("GET", UPCOMING).status == 404
    plane.advance("2 hours")
    (last,) = plane.run()["data"]
    assert last["period"]["end"] == ended
    assert (last["total"], lines_of(last, "base")) == ("0.10", [])
    plane.advance("60 days")
    assert plane.run()["data"] == []
    assert plane.ok("GET", "/v1/reconciliation?verify=true")["drift"] == []


def test_the_tax_of_the_customer_is_on_the_invoice(plane: Plane) -> None:
    plane.push()
    tax = {"name": "VAT", "percent": "19"}
    plane.ok("PUT", "/v1/customers/acme", {"name": "Acme", "tax": tax})
    plane.ok("PUT", "/v1/customers/acme/subscription", {"plan": "pro"})
    (invoice,) = plane.run()["data"]
    assert (invoice["subtotal"], invoice["tax"], invoice["total"]) == ("49.00", "9.31", "58.31")
    assert invoice["billTo"] == {"name": "Acme"}


def test_a_draft_gets_its_number_when_it_is_finalized(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    (draft,) = plane.run(finalize=False)["data"]
    assert (draft["status"], draft["number"]) == ("draft", None)
    final = plane.ok("POST", f"/v1/invoices/{draft['id']}/finalize")
    assert (final["status"], final["number"]) == ("finalized", "INV-000001")
    assert plane.ok("POST", f"/v1/invoices/{draft['id']}/finalize") == final


def test_a_void_invoice_keeps_its_number_and_its_lines(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    (invoice,) = plane.run()["data"]
    void = plane.ok("POST", f"/v1/invoices/{invoice['id']}/void")
    assert void == {**invoice, "status": "void"}
    assert plane.ask("POST", f"/v1/invoices/{invoice['id']}/finalize").status == 409
    assert plane.run()["data"] == []


def test_invoices_are_listed_and_found(plane: Plane) -> None:
    plane.push()
    for customer in ("a", "b", "c"):
        plane.subscribe(customer)
    plane.run()
    first = plane.ok("GET", "/v1/invoices?limit=2")
    rest = plane.ok("GET", f"/v1/invoices?limit=2&after={first['next']}")
    assert {each["customer"] for each in first["data"] + rest["data"]} == {"a", "b", "c"}
    (of_b,) = plane.ok("GET", "/v1/invoices?customer=b")["data"]
    assert plane.ok("GET", f"/v1/invoices/{of_b['id']}") == of_b
    assert plane.ask("GET", "/v1/invoices/inv_nothing").status == 404


def test_an_invoice_can_be_read_by_people_and_spreadsheets(plane: Plane) -> None:
    plane.push()
    plane.ok("PUT", "/v1/customers/acme", {"name": "<script>alert(1)</script>"})
    plane.ok("PUT", "/v1/customers/acme/subscription", {"plan": "pro"})
    (invoice,) = plane.run()["data"]
    page = plane.ask("GET", f"/v1/invoices/{invoice['id']}.html")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "INV-000001" in page.body
    assert "<script>" not in page.body
    table = plane.ask("GET", f"/v1/invoices/{invoice['id']}.csv").body
    assert table.splitlines()[1].startswith("INV-000001,USD,base,,Pro,1,49.00")
    pdf = plane.ask("GET", f"/v1/invoices/{invoice['id']}.pdf")
    assert (pdf.status, pdf.body["code"]) == (422, "not_supported_yet")


def test_without_a_subscription_nothing_is_upcoming(plane: Plane) -> None:
    assert plane.ask("GET", UPCOMING).status == 404
    plane.ok("PUT", "/v1/customers/acme", {})
    assert plane.ask("GET", UPCOMING).body["code"] == "no_subscription"


def test_without_postgres_usage_under_an_earlier_entitlement_is_still_priced(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.consume("acme", 110)
    plane.push(CATALOG.replace("unit: 0.01", "unit: 0.02"), "now")
    plane.consume("acme", 10)
    whole = plane.ok("GET", UPCOMING)
    assert Decimal(lines_of(whole, "usage")[1]["amount"]) == Decimal("0.20")
    assert upcoming(None, plane.redis, "acme").to_plain()["lines"] == lines_of(whole, "usage")


def test_usage_of_a_feature_that_left_the_plan_is_upcoming_before_the_ledger_has_it(
    plane: Plane,
) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.consume("acme", 2_000_000, "data")
    data = "      data: {included: 1, overage: charge, price: {model: per_unit, unit: 0.25}}\n"
    plane.push(CATALOG.replace(data, ""), "now")
    (usage,) = lines_of(plane.ok("GET", UPCOMING), "usage")
    assert (usage["feature"], usage["amount"]) == ("data", "0.25")
