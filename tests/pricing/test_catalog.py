"""A catalog is read exactly, whole, and into one normal form."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pricing.catalog import Catalog, CatalogInvalid, load_catalog, read_overrides
from gateway.pricing.unsupported import refuse_unsupported_overrides, unsupported
from gateway.pricing.window import Span
from reconciler.catalog_file import read_catalog

CONTRACT = (Path(__file__).parent / "contract_catalog.yaml").read_text()


def small(**changes: Any) -> dict[str, Any]:
    return {
        "currency": "USD",
        "features": {"api_calls": {"name": "API calls", "unit": "call"}},
        "plans": {"free": {"features": {"api_calls": {"included": "100", "reset": "hour"}}}},
        **changes,
    }


def plan_of(said: dict[str, Any], **features: Any) -> Any:
    data = small(features={"api_calls": features}, plans={"p": {"features": {"api_calls": said}}})
    return load_catalog(data).plans["p"].features["api_calls"]


def test_the_catalog_of_the_contract_is_read_whole() -> None:
    catalog = read_catalog(CONTRACT, allow_unsupported=True)
    assert list(catalog.plans) == ["free", "pro", "pro_annual", "pro_eur", "team", "boost"]
    pro = catalog.plans["pro"].features["api_calls"]
    assert pro.included == 20_000
    assert pro.reset == Span("month") and pro.align == "anchor"
    assert pro.price is not None and pro.price.tiers[0].unit == Decimal("0.004")
    assert catalog.plans["pro"].features["ai_credits"].included == 500_000_000
    assert catalog.features["ai"].weights["gpt-5"]["cached"] == "0.000125"


def test_what_is_not_built_yet_is_named() -> None:
    named = {
        str(problem.path[-1]) for problem in unsupported(read_catalog(CONTRACT, allow_unsupported=True))
    }  # fmt: skip
    assert named == {
        "default_plan", "entities", "credits", "packs", "type", "hold", "capture", "trial",
        "spend_cap", "minimum", "rollover", "overage_cap", "alerts", "per", "sliding",
        "concurrent", "addon",
    }  # fmt: skip


def test_a_part_taken_over_from_another_plan_is_named_once_where_it_stands() -> None:
    found = unsupported(read_catalog(CONTRACT, allow_unsupported=True))
    assert [problem.path for problem in found if problem.path[-1] == "trial"] == [
        ("plans", "pro", "trial")
    ]


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"on_outage": "open"}, "on_outage"),
        ({"on_outage": {"bounded": "50"}}, "on_outage"),
        ({"overage": "charge", "price": {"model": "percentage", "rate": "2"}}, "model"),
        ({"require": []}, "require"),
    ],
)
def test_parts_of_a_feature_are_refused_by_name(part: dict[str, Any], path: str) -> None:
    said = {"included": "100", **part}
    data = small(entities=["user"], plans={"p": {"features": {"api_calls": said}}})
    data.pop("entities")
    assert path in [problem.path[-1] for problem in unsupported(load_catalog(data))]


def test_closed_is_supported_and_a_small_catalog_has_nothing_unsupported() -> None:
    said = {"included": "100", "on_outage": "closed"}
    assert unsupported(load_catalog(small(plans={"p": {"features": {"api_calls": said}}}))) == []


def test_defaults_are_those_of_the_contract() -> None:
    catalog = load_catalog(small(plans={"p": {"features": {"api_calls": {}}}}))
    plan = catalog.plans["p"]
    assert plan.price.amount == 0
    assert plan.interval == plan.usage_interval == Span("month")
    feature = plan.features["api_calls"]
    assert (feature.included, feature.reset, feature.overage) == (0, Span("period"), "block")
    assert feature.on_outage == "bounded" and feature.enforce


@pytest.mark.parametrize(
    ("reset", "align"),
    [
        ("minute", "calendar"),
        ("5 hours", "calendar"),
        ("day", "calendar"),
        ("week", "calendar"),
        ("7 days", "calendar"),
        ("8 days", "anchor"),
        ("month", "anchor"),
        ("year", "anchor"),
        ("period", "anchor"),
        ("never", "anchor"),
    ],
)
def test_windows_up_to_a_week_follow_the_calendar(reset: str, align: str) -> None:
    assert plan_of({"reset": reset}).align == align


@pytest.mark.parametrize(
    ("interval", "usage_interval"),
    [("month", "month"), ("year", "month"), ("2 years", "month"), ("week", "week"),
     ("quarter", "3 months")],
)  # fmt: skip
def test_a_year_is_billed_by_the_month(interval: str, usage_interval: str) -> None:
    plan = load_catalog(small(plans={"p": {"interval": interval}})).plans["p"]
    assert str(plan.usage_interval) == usage_interval


def test_an_annual_plan_may_have_yearly_tiers() -> None:
    said = {"interval": "year", "usage_interval": "year"}
    assert load_catalog(small(plans={"p": said})).plans["p"].usage_interval == Span("year")


@pytest.mark.parametrize("number", ["1_000_000", "1000000", 1_000_000, "1000000.0", Decimal(10**6)])
def test_spellings_of_a_number_are_one_number(number: Any) -> None:
    catalog = load_catalog(small(plans={"p": {"features": {"api_calls": {"included": number}}}}))
    assert catalog.plans["p"].features["api_calls"].included == 1_000_000
    assert catalog.to_plain()["plans"]["p"]["features"]["api_calls"]["included"] == "1000000"


def test_numbers_keep_every_digit() -> None:
    price = {"model": "per_unit", "unit": "0.123456789123456789"}
    catalog = load_catalog(small(plans={"p": {"price": price}}))
    assert catalog.plans["p"].price.unit == Decimal("0.123456789123456789")


def test_quantities_are_base_units_of_the_scale() -> None:
    assert plan_of({"included": "1.25"}, scale=6).included == 1_250_000
    assert plan_of({"included": "9007199254740991"}).included == 2**53 - 1


def test_words_of_others_are_understood() -> None:
    assert plan_of({"reset": "hourly"}).reset == Span("hour")
    assert load_catalog(small(plans={"p": {"interval": "yearly"}})).plans["p"].interval == Span(
        "year"
    )


def test_included_may_be_unlimited_or_per_unit_of_quantity() -> None:
    assert plan_of({"included": "unlimited"}).included_for(5) is None
    assert plan_of({"included": {"each": "10"}}).included_for(5) == 50
    assert plan_of({"included": "10"}).included_for(5) == 10


def test_limits_are_called_by_feature_and_span_or_by_their_own_name() -> None:
    limits = [
        {"max": "1", "every": "hour"},
        {"max": "2", "every": "5 hours"},
        {"max": "3", "every": "day", "name": "daily-ceiling"},
    ]
    names = [limit.name for limit in plan_of({"limits": limits}).limits]
    assert names == ["api_calls.hour", "api_calls.5_hours", "daily-ceiling"]


def test_extends_merges_key_by_key_and_replaces_lists() -> None:
    base = {"name": "Base", "features": {"api_calls": {
        "included": "1", "reset": "day", "limits": [{"max": "1", "every": "hour"}]}}}  # fmt: skip
    derived = {"extends": "base", "price": "5", "features": {"api_calls": {
        "included": "2", "reset": None, "limits": [{"max": "9", "every": "day"}]}}}  # fmt: skip
    # The plan that is extended may stand further down.
    catalog = load_catalog(small(plans={"derived": derived, "base": base}))
    plan = catalog.plans["derived"]
    assert plan.name == "Base" and plan.price.amount == 5
    feature = plan.features["api_calls"]
    assert feature.included == 2 and feature.reset == Span("period")
    assert [limit.max for limit in feature.limits] == [9]
    assert catalog.to_plain()["plans"]["derived"]["features"]["api_calls"] == {
        "included": "2", "limits": [{"max": "9", "every": "day"}]}  # fmt: skip


def test_a_feature_taken_away_is_gone() -> None:
    plans = {
        "base": {"features": {"api_calls": {"included": "1"}}},
        "less": {"extends": "base", "features": {"api_calls": None}},
    }
    assert load_catalog(small(plans=plans)).plans["less"].features == {}


def test_a_boolean_feature_that_is_off_is_not_in_the_plan() -> None:
    features = {"sso": {"type": "boolean"}}
    plans = {"a": {"features": {"sso": True}}, "b": {"extends": "a", "features": {"sso": False}}}
    catalog = load_catalog(small(features=features, plans=plans))
    assert "sso" in catalog.plans["a"].features and "sso" not in catalog.plans["b"].features


def test_the_normal_form_reads_as_the_same_catalog() -> None:
    catalog = read_catalog(CONTRACT, allow_unsupported=True)
    again = Catalog.from_plain(json.loads(json.dumps(catalog.to_plain())))
    assert again == catalog and again.plans == catalog.plans and again.routes == catalog.routes
    assert again.to_plain() == catalog.to_plain()


def test_the_hash_is_of_the_meaning_not_of_the_spelling() -> None:
    one = load_catalog(small(plans={"p": {"price": "1_000.50", "interval": "monthly"}}))
    two = load_catalog(small(plans={"p": {"interval": "month", "price": "1000.5", "trial": None}}))
    other = load_catalog(small(plans={"p": {"price": "1000.51", "interval": "month"}}))
    assert one.sha256 == two.sha256 != other.sha256
    assert len(one.sha256) == 64


def test_the_normal_form_holds_text_booleans_maps_and_lists_only() -> None:
    def kinds(value: Any) -> set[type]:
        if isinstance(value, dict):
            return set().union(*(kinds(each) for each in value.values()), {dict})
        if isinstance(value, list):
            return set().union(*(kinds(each) for each in value), {list})
        return {type(value)}

    plain = read_catalog(CONTRACT, allow_unsupported=True).to_plain()
    assert kinds(plain) <= {str, bool, dict, list}


def test_overrides_are_the_same_merge() -> None:
    catalog = load_catalog(small())
    plan = catalog.plan_with("free", {"features": {"api_calls": {"included": "250"}}, "price": 7})
    assert plan.features["api_calls"].included == 250
    assert plan.features["api_calls"].reset == Span("hour")
    assert plan.price.amount == 7
    assert catalog.plans["free"].features["api_calls"].included == 100
    assert catalog.plan_with("free", {}) is catalog.plans["free"]


def test_overrides_are_kept_in_normal_form() -> None:
    said = {"price": Decimal("7.50"), "features": {"api_calls": {"included": 1000, "reset": None}}}
    assert read_overrides(said) == {
        "price": "7.5", "features": {"api_calls": {"included": "1000", "reset": None}}}  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "path", "code"),
    [
        ({"pric": "5"}, ("overrides", "pric"), "unknown_field"),
        ({"price": 0.5}, ("overrides", "price"), "not_exact"),
        ({"currency": "EUR"}, ("overrides", "currency"), "not_for_overrides"),
        ({"extends": "free"}, ("overrides", "extends"), "not_for_overrides"),
        ({"features": {"nope": True}}, ("overrides", "features", "nope"), "unknown_feature"),
        (
            {"features": {"api_calls": {"overage": "charge"}}},
            ("overrides", "features", "api_calls"),
            "missing",
        ),
        ([], ("overrides",), "wrong_type"),
    ],
)
def test_overrides_that_do_not_fit_are_refused(
    overrides: Any, path: tuple[str, ...], code: str
) -> None:
    with pytest.raises(CatalogInvalid) as refused:
        load_catalog(small()).plan_with("free", overrides or read_overrides(overrides))
    assert [(problem.path, problem.code) for problem in refused.value.problems] == [(path, code)]


def test_overrides_with_parts_that_are_not_built_yet_are_refused_by_name() -> None:
    refuse_unsupported_overrides(read_overrides({"price": "5"}))
    with pytest.raises(CatalogInvalid) as refused:
        refuse_unsupported_overrides(read_overrides({"spend_cap": "5"}))
    assert refused.value.problems[0].code == "not_supported_yet"


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.decimals()
    | st.sampled_from(["1e6", "20,000", "-1", "0.1", "unlimited", "hour", "never", "period",
                       "30 hours", "free", "pro", "ai", "sso", "ai_credits", "storage", "*"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(max_size=6) | st.sampled_from(["included", "each", "model", "tiers", "max"]),
        inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        inner = [each for name, item in value.items() for each in _paths(item, (*path, name))]
    elif isinstance(value, list):
        inner = [each for place, item in enumerate(value) for each in _paths(item, (*path, place))]
    else:
        inner = []
    return [path, *inner]


def _replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], by)
    return copy


PLAIN = read_catalog(CONTRACT, allow_unsupported=True).to_plain()


@settings(max_examples=200, deadline=None)
@given(path=st.sampled_from(_paths(PLAIN)), junk=JUNK)
def test_whatever_stands_in_a_catalog_is_read_or_refused(path: tuple[Any, ...], junk: Any) -> None:
    try:
        catalog = load_catalog(_replaced(PLAIN, path, junk))
    except CatalogInvalid as refused:
        assert refused.problems and all(problem.message for problem in refused.problems)
    else:
        assert Catalog.from_plain(catalog.to_plain()) == catalog
