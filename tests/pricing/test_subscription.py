"""A subscription says what the customer may use, and when it is billed."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.pricing.catalog import Catalog, CatalogInvalid, load_catalog
from gateway.pricing.entitlement import Entitlement
from gateway.pricing.subscription import (
    Subscription,
    SubscriptionInvalid,
    base_charge,
    billing_period_at,
    billing_periods,
    entitle,
    is_interval_boundary,
)
from gateway.pricing.upgrade import upgrade_of
from gateway.pricing.window import Span


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def written(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M")


START = ms("2026-01-31")
CHARGE = {"overage": "charge", "price": {"model": "per_unit", "unit": "0.004"}}
CATALOG = load_catalog({
    "currency": "USD",
    "features": {
        "api": {"name": "API calls", "unit": "call", "scale": "2"},
        "sso": {"name": "Single sign-on", "type": "boolean"},
    },
    "plans": {
        "free": {"name": "Free", "features": {"api": {"included": "100", "reset": "hour"}}},
        "lite": {"price": "5", "features": {"api": {"included": "50", "reset": "hour"}}},
        "pro": {
            "name": "Pro", "price": "49",
            "features": {
                "api": {"included": "20000", "reset": "month", **CHARGE, "limits": [
                    {"max": "10.25", "every": "5 hours"},
                    {"max": "9", "every": "minute", "align": "first_use", "enforce": False}]},
                "sso": True,
            },
        },
        "pro_annual": {"extends": "pro", "price": "490", "interval": "year"},
        "pro_eur": {"extends": "pro", "currency": "EUR"},
        "big": {"price": "900", "features": {"api": {"included": "unlimited"}, "sso": True}},
        "team": {"price": {"model": "per_unit", "unit": "20"},
                 "features": {"api": {"included": {"each": "10"}, "reset": "day"}}},
        "boost": {"addon": True, "features": {"api": {"included": "unlimited"}}},
    },
    "links": {"upgrade": "https://app.example.com/upgrade?plan={plan}"},
    "statuses": {"allowance_exhausted": "402"},
})  # fmt: skip


def subscribed(plan: str = "pro", catalog: Catalog = CATALOG, **changes: Any) -> Subscription:
    fields: dict[str, Any] = {
        "customer": "acme", "plan": plan, "catalog": catalog, "catalog_version": 3,
        "starts_ms": START, "anchor_ms": START, **changes,
    }  # fmt: skip
    return Subscription(**fields)


def test_an_entitlement_is_the_plan_compiled_to_base_units() -> None:
    compiled = entitle(subscribed(zone="Asia/Kolkata"), version=9)
    assert (compiled.version, compiled.catalog, compiled.plan) == (9, 3, "pro")
    assert (compiled.currency, compiled.zone, compiled.period) == (
        "USD",
        "Asia/Kolkata",
        Span("month"),
    )
    assert compiled.links == {"upgrade": "https://app.example.com/upgrade?plan={plan}"}
    assert compiled.statuses == {"allowance_exhausted": 402}
    api = compiled.features["api"]
    assert (api.included, api.reset, api.align) == (2_000_000, Span("month"), "anchor")
    assert [(limit.name, limit.max, limit.align, limit.enforce) for limit in api.limits] == [
        ("api.5_hours", 1025, "calendar", True),
        ("api.minute", 900, "first_use", False),
    ]
    assert api.overage == "charge" and api.price is not None
    assert compiled.features["sso"].type == "boolean"


def test_an_entitlement_survives_its_plain_form() -> None:
    following = subscribed("free", starts_ms=ms("2026-03-31"))
    compiled = entitle(subscribed(ends_ms=ms("2026-03-31")), version=9, following=following)
    assert Entitlement.from_plain(compiled.to_plain()) == compiled
    assert compiled.next is not None and compiled.next.version == 9
    assert compiled.at(ms("2026-03-30")).plan == "pro"
    assert compiled.at(ms("2026-03-31")).plan == "free"


def test_an_allowance_per_unit_grows_with_the_quantity() -> None:
    assert entitle(subscribed("team", quantity=7), version=1).features["api"].included == 7_000
    with pytest.raises(SubscriptionInvalid, match="more than 2\\^53"):
        entitle(subscribed("team", quantity=2**50), version=1)


def test_overrides_change_one_customer_only() -> None:
    special = subscribed("free", overrides={"features": {"api": {"included": "1000", **CHARGE}}})
    api = entitle(special, version=1).features["api"]
    assert api.included == 100_000 and api.reset == Span("hour") and api.price is not None
    assert entitle(subscribed("free"), version=1).features["api"].included == 10_000
    with pytest.raises(CatalogInvalid):
        entitle(subscribed("free", overrides={"features": {"apis": True}}), version=1)


def test_a_suspension_and_an_end_are_carried_over() -> None:
    compiled = entitle(subscribed(suspended=True, ends_ms=START + 1), version=1)
    assert compiled.suspended and compiled.ends_ms == START + 1


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"plan": "gold"}, "there is no plan 'gold'; there is free"),
        ({"plan": "boost"}, "add-on"),
        ({"currency": "EUR"}, "pays in EUR"),
        ({"quantity": 0}, "at least 1"),
        ({"ends_ms": START}, "ends after it starts"),
        ({"zone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"anchor_ms": -1}, "before 1970"),
    ],
)
def test_a_subscription_that_makes_no_sense_is_refused(changes: Any, problem: str) -> None:
    with pytest.raises(SubscriptionInvalid, match=problem):
        subscribed(**changes)


def test_what_follows_follows_the_same_customer() -> None:
    with pytest.raises(SubscriptionInvalid, match="another customer"):
        entitle(
            subscribed(), version=1, following=subscribed(customer="other", starts_ms=START + 9)
        )
    with pytest.raises(SubscriptionInvalid, match="before this one has ended"):
        entitle(subscribed(ends_ms=START + 9), version=1, following=subscribed(starts_ms=START + 8))


def test_features_that_cannot_be_enforced_yet_are_refused() -> None:
    catalog = load_catalog({"currency": "USD", "features": {"seats": {"type": "allocated"}},
                            "plans": {"p": {"features": {"seats": {"included": "5"}}}}})  # fmt: skip
    with pytest.raises(SubscriptionInvalid, match="not supported yet"):
        entitle(subscribed("p", catalog), version=1)


@pytest.mark.parametrize(
    ("plan", "feature", "better"),
    [
        # 100 an hour is more than 10 a day, so team is no more; pro goes on where free blocks.
        ("free", "api", "pro"),
        ("free", "sso", "pro"),
        ("lite", "api", "free"),
        ("pro", "api", "big"),
        ("big", "api", None),
        ("pro", "sso", None),
        ("pro_eur", "api", None),
        ("pro_annual", "api", "big"),
    ],
)
def test_the_cheapest_plan_with_more_is_suggested(
    plan: str, feature: str, better: str | None
) -> None:
    assert upgrade_of(CATALOG, CATALOG.plans[plan], feature) == better


def test_the_suggestion_is_part_of_the_entitlement_and_knows_overrides() -> None:
    assert entitle(subscribed("lite"), version=1).features["api"].upgrade == "free"
    more = {"features": {"api": {"included": "200"}}}
    assert entitle(subscribed("lite", overrides=more), version=1).features["api"].upgrade == "pro"


def test_billing_periods_are_counted_from_the_original_anchor() -> None:
    periods = list(billing_periods(subscribed(), to_ms=ms("2026-05-01")))
    assert [written(period.start_ms) for period in periods] == [
        "2026-01-31 00:00", "2026-02-28 00:00", "2026-03-31 00:00", "2026-04-30 00:00",
    ]  # fmt: skip
    assert billing_period_at(subscribed(), ms("2026-03-15")) == periods[1]


def test_billing_periods_end_with_the_subscription() -> None:
    ended = subscribed(ends_ms=ms("2026-03-31"))
    assert len(list(billing_periods(ended, to_ms=ms("2030-01-01")))) == 2
    assert len(list(billing_periods(ended, from_ms=ms("2026-03-01"), to_ms=ms("2030-01-01")))) == 1
    with pytest.raises(ValueError, match="more than 10000"):
        hourly = load_catalog(
            {"currency": "USD", "features": {}, "plans": {"p": {"interval": "hour"}}}
        )
        list(billing_periods(subscribed("p", hourly), to_ms=ms("2030-01-01")))


def test_a_year_is_billed_by_the_month_and_paid_once() -> None:
    annual = subscribed("pro_annual")
    assert written(billing_period_at(annual, START).end_ms) == "2026-02-28 00:00"
    assert is_interval_boundary(annual, START)
    assert not is_interval_boundary(annual, ms("2026-02-28"))
    assert is_interval_boundary(annual, ms("2027-01-31"))
    charge = base_charge(annual, START)
    assert charge is not None and charge.price.amount == 490
    assert written(charge.period.end_ms) == "2027-01-31 00:00"
    assert base_charge(annual, ms("2026-02-28")) is None


def test_nothing_is_owed_in_advance_where_the_subscription_has_ended() -> None:
    assert base_charge(subscribed(ends_ms=ms("2026-02-28")), ms("2026-02-28")) is None
    charge = base_charge(subscribed(overrides={"price": "10"}, quantity=2), ms("2026-02-28"))
    assert charge is not None and charge.price.amount == 10 and charge.quantity == 2


def test_billing_follows_the_wall_clock_of_the_customer() -> None:
    kolkata = subscribed(zone="Asia/Kolkata", starts_ms=ms("2026-01-30 18:30"),
                         anchor_ms=ms("2026-01-30 18:30"))  # fmt: skip
    period = billing_period_at(kolkata, ms("2026-02-01"))
    assert (written(period.start_ms), written(period.end_ms)) == (
        "2026-01-30 18:30", "2026-02-27 18:30")  # fmt: skip
