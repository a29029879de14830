import pytest

from gateway.pricing.window import Span
from lua import keys
from reconciler.billing import read_entitlement
from tests.reconciler.control.plane import Plane

SUBSCRIPTION = "/v1/customers/acme/subscription"


def entitlement_of(plane: Plane, customer: str = "acme"):  # type: ignore[no-untyped-def]
    doc = plane.redis.hget(keys.entitlement(customer), "doc")
    assert isinstance(doc, bytes)
    return read_entitlement(doc)


def test_a_subscription_is_in_force_once_it_is_answered(plane: Plane) -> None:
    plane.push()
    answer = plane.subscribe("acme")
    assert (answer["status"], answer["applied"]) == ("running", True)
    entitled = entitlement_of(plane)
    assert (entitled.plan, entitled.period) == ("pro", Span("month"))
    assert entitled.features["api_calls"].included == 10


def test_a_plan_that_does_not_exist_is_refused_with_the_one_meant(plane: Plane) -> None:
    plane.push()
    plane.ok("PUT", "/v1/customers/acme", {})
    answer = plane.ask("PUT", SUBSCRIPTION, {"plan": "por"})
    assert (answer.status, answer.body["code"]) == (422, "unknown_plan")
    assert answer.body["errors"][0]["suggestion"] == "pro"


def test_without_a_catalog_or_a_customer_there_is_no_subscription(plane: Plane) -> None:
    assert plane.ask("PUT", SUBSCRIPTION, {"plan": "pro"}).status == 404
    plane.ok("PUT", "/v1/customers/acme", {})
    assert plane.ask("PUT", SUBSCRIPTION, {"plan": "pro"}).body["code"] == "no_catalog"


def test_overrides_are_merged_and_may_change_at_any_time(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme", overrides={"features": {"api_calls": {"included": 500}}})
    assert entitlement_of(plane).features["api_calls"].included == 500
    price = {"tiers": [{"unit": 0.004}]}
    body = {"plan": "pro", "overrides": {"features": {"api_calls": {"price": price}}}}
    plane.ok("PUT", SUBSCRIPTION, body)
    feature = entitlement_of(plane).features["api_calls"]
    assert feature.included == 10
    assert str(feature.price.tiers[0].unit) == "0.004"


def test_overrides_that_do_not_fit_name_their_place(plane: Plane) -> None:
    plane.push()
    plane.ok("PUT", "/v1/customers/acme", {})
    overrides = {"features": {"api_cals": {"included": 5}, "data": {"inclded": 5}}}
    answer = plane.ask("PUT", SUBSCRIPTION, {"plan": "pro", "overrides": overrides})
    assert answer.status == 422
    pointers = [each["pointer"] for each in answer.body["errors"]]
    assert "/overrides/features/data/inclded" in pointers


def test_overrides_cannot_ask_for_what_is_not_built_yet(plane: Plane) -> None:
    plane.push()
    plane.ok("PUT", "/v1/customers/acme", {})
    answer = plane.ask("PUT", SUBSCRIPTION, {"plan": "pro", "overrides": {"spend_cap": 5}})
    assert (answer.status, answer.body["code"]) == (422, "not_supported_yet")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("addons", {"boost": 2}),
        ("trialEndsAt", "2027-01-01T00:00:00Z"),
        ("discount", {"percent": "10"}),
        ("when", "period_end"),
        ("usage", "reset"),
        ("proration", "day"),
    ],
)
def test_fields_for_later_are_refused_by_name(plane: Plane, field: str, value: object) -> None:
    plane.push()
    plane.ok("PUT", "/v1/customers/acme", {})
    answer = plane.ask("PUT", SUBSCRIPTION, {"plan": "pro", field: value})
    assert (answer.status, answer.body["code"]) == (422, "not_supported_yet")
    assert answer.body["errors"][0]["pointer"] == f"/{field}"


def test_a_change_of_plan_and_quantity_names_both(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    answer = plane.ask("PUT", SUBSCRIPTION, {"plan": "free", "quantity": 3})
    assert (answer.status, answer.body["code"]) == (422, "not_supported_yet")
    assert [each["pointer"] for each in answer.body["errors"]] == ["/plan", "/quantity"]


def test_the_anchor_may_lie_before_or_after_the_start(plane: Plane) -> None:
    plane.push()
    plane.ok("PUT", "/v1/customers/acme", {})
    body = {"plan": "free", "startsAt": "2026-03-10T00:00:00Z", "anchor": "2026-01-31T12:00:00Z"}
    plane.ok("PUT", SUBSCRIPTION, body)
    entitled = entitlement_of(plane)
    assert entitled.starts_ms - entitled.anchor_ms == 37 * 86_400_000 + 43_200_000


@pytest.mark.parametrize("anchor", ["2026-01-31T12:00:00Z", "2026-04-01T00:00:00Z"])
def test_a_part_of_an_interval_is_not_charged_as_a_whole_one(plane: Plane, anchor: str) -> None:
    plane.push()
    plane.ok("PUT", "/v1/customers/acme", {})
    body = {"plan": "pro", "startsAt": "2026-03-10T00:00:00Z", "anchor": anchor}
    answer = plane.ask("PUT", SUBSCRIPTION, body)
    assert (answer.status, answer.body["code"]) == (422, "not_supported_yet")
    assert answer.body["errors"][0]["pointer"] == "/anchor"
    plane.ok(
        "PUT",
        SUBSCRIPTION,
        {**body, "startsAt": "2026-03-01T00:00:00Z", "anchor": "2026-04-01T00:00:00Z"},
    )


@pytest.mark.parametrize(
    "at", ["soon", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "1999-01-01T00:00:00Z"]
)
def test_times_that_are_none_are_refused(plane: Plane, at: str) -> None:
    plane.push()
    plane.ok("PUT", "/v1/customers/acme", {})
    answer = plane.ask("PUT", SUBSCRIPTION, {"plan": "pro", "startsAt": at})
    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, "/startsAt")


def test_a_subscription_can_end_now_and_begin_anew(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme")
    plane.advance("1 second")
    ended = plane.ok("DELETE", SUBSCRIPTION + "?when=now")
    assert ended["status"] == "ended"
    assert entitlement_of(plane).ends_ms is not None
    plane.advance("1 second")
    again = plane.ok("PUT", SUBSCRIPTION, {"plan": "free"})
    assert (again["plan"], again["status"]) == ("free", "running")


def test_a_subscription_that_ends_at_its_period_runs_until_then(plane: Plane) -> None:
    plane.push()
    running = plane.subscribe("acme")
    ending = plane.ok("DELETE", SUBSCRIPTION + "?when=period_end")
    assert (ending["status"], ending["endsAt"]) == ("running", running["period"]["end"])
    assert plane.ok("PUT", SUBSCRIPTION, {"plan": "pro"})["endsAt"] is None
    plane.ok("DELETE", SUBSCRIPTION + "?when=period_end")
    plane.advance("32 days")
    assert plane.ok("GET", SUBSCRIPTION)["status"] == "ended"


def test_a_year_that_is_paid_for_runs_to_its_end(plane: Plane) -> None:
    plane.push()
    running = plane.subscribe("acme", "yearly")
    ending = plane.ok("DELETE", SUBSCRIPTION + "?when=period_end")
    assert int(ending["endsAt"][:4]) == int(running["startsAt"][:4]) + 1


def test_a_subscription_that_has_not_begun_can_be_replaced(plane: Plane) -> None:
    plane.push()
    plane.subscribe("acme", startsAt="2090-01-01T00:00:00Z")
    replaced = plane.ok("PUT", SUBSCRIPTION, {"plan": "free"})
    assert (replaced["plan"], replaced["status"]) == ("free", "running")


def test_a_period_that_was_closed_is_not_opened_again(plane: Plane) -> None:
    plane.push()
    started = plane.subscribe("acme")["startsAt"]
    plane.advance("1 day")
    plane.ok("DELETE", SUBSCRIPTION)
    answer = plane.ask("PUT", SUBSCRIPTION, {"plan": "pro", "anchor": started})
    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, "/anchor")


def test_the_customers_currency_must_be_the_plans(plane: Plane) -> None:
    plane.push()
    plane.ok("PUT", "/v1/customers/acme", {"currency": "EUR"})
    answer = plane.ask("PUT", SUBSCRIPTION, {"plan": "pro"})
    assert answer.status == 422
    assert "EUR" in answer.body["detail"]


def test_an_override_may_change_the_model_of_a_price(plane: Plane) -> None:
    plane.push()
    plane.ok("PUT", "/v1/customers/acme", {})
    overrides = {"features": {"api_calls": {"price": {"model": "per_unit", "unit": "0.5"}}}}
    plane.ok("PUT", "/v1/customers/acme/subscription", {"plan": "pro", "overrides": overrides})
    plane.consume("acme", 12)
    upcoming = plane.ok("GET", "/v1/customers/acme/invoices/upcoming")
    (usage,) = [line for line in upcoming["lines"] if line["kind"] == "usage"]
    assert (usage["amount"], usage["tiers"][0]["unit"]) == ("1.00", "0.5")
