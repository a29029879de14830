"""The catalog in Python is the catalog in YAML."""

from decimal import Decimal

import pytest

from gateway.pricing.building import allocated, boolean, catalog, credits, metered, pack, plan
from gateway.pricing.catalog import CatalogInvalid
from reconciler.catalog_file import read_catalog

api_calls = metered("api_calls", name="API calls")


def test_a_plan_is_written_as_the_product_writes_it() -> None:
    pro = plan("pro", name="Pro", price=49, currency="USD", interval="monthly",
               features=[api_calls.included(1000, reset="hourly", overage="block")])  # fmt: skip
    built = catalog(pro)
    assert built == read_catalog("""
        currency: USD
        features: {api_calls: {name: API calls, type: metered}}
        plans:
          pro:
            name: Pro
            currency: USD
            price: 49
            interval: month
            features: {api_calls: {included: 1000, reset: hour, overage: block}}
    """)
    assert built.plans["pro"].features["api_calls"].included == 1000


def test_everything_of_the_grammar_can_be_built() -> None:
    ai = metered("ai", unit="credit", scale=6, weights={"*": {"input": Decimal("0.0025")}})
    sso, seats = boolean("sso"), allocated("seats")
    coins = credits("coins", scale=6, costs={"ai": 1, "api_calls": "0.01"})
    pro = plan(
        "pro",
        price=49,
        features=[
            sso,
            seats.included(5),
            ai.usage(credits="coins"),
            coins.included(500, reset="month"),
            api_calls.unlimited(limits=[{"max": 5, "every": "hour"}]),
        ],
    )
    annual = plan("annual", extends=pro, interval="year", price=490, features=[sso.off()])
    built = catalog(
        annual,
        currency="USD",
        packs=[pack("coins_100", coins, quantity=100, price=10, expires="12 months")],
        routes=[{"match": "*", "feature": "api_calls"}],
    )
    assert list(built.plans) == ["pro", "annual"]
    assert "sso" in built.plans["pro"].features and "sso" not in built.plans["annual"].features
    assert built.packs["coins_100"].quantity == 100_000_000
    assert built.routes[0].cost == 1


def test_floats_and_mistakes_are_refused_as_in_a_file() -> None:
    with pytest.raises(CatalogInvalid, match="not exact") as refused:
        catalog(plan("pro", price=49.5), currency="USD")
    assert refused.value.problems[0].path == ("plans", "pro", "price")
    with pytest.raises(CatalogInvalid, match="Did you mean included"):
        catalog(plan("pro", features=[api_calls.usage(includes=1)]), currency="USD")
    with pytest.raises(CatalogInvalid, match="needs currency"):
        catalog(plan("a", currency="USD"), plan("b", currency="EUR"))


def test_one_id_means_one_thing() -> None:
    other = metered("api_calls", name="Other")
    with pytest.raises(ValueError, match="api_calls is defined twice"):
        catalog(
            plan("a", features=[api_calls.unlimited()]), plan("b", features=[other.unlimited()])
        )
    with pytest.raises(ValueError, match="plan a is defined twice"):
        catalog(plan("a"), plan("a", price=1))
