"""An invoice says what the decisions recorded, rounds each line once, and refuses costs it cannot explain."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pricing.compiled import amount_nano, compile_price
from gateway.pricing.invoice import (
    BaseCharge,
    Invoice,
    SegmentUsage,
    Tax,
    UsageNotRated,
    invoice,
)
from gateway.pricing.money import NANO
from gateway.pricing.price import Price
from gateway.pricing.window import Window

OCTOBER = Window(1_759_276_800_000, 1_761_955_200_000)
NOVEMBER = Window(1_761_955_200_000, 1_764_547_200_000)
DECEMBER = Window(1_764_547_200_000, 1_767_225_600_000)
GRADUATED = Price.from_plain(
    {
        "model": "graduated",
        "tiers": [{"up_to": "10", "unit": "10", "flat": "2"}, {"unit": "5", "flat": "3"}],
    }
)
PRO = BaseCharge(
    plan="pro",
    name="Pro",
    price=Price.from_plain({"model": "flat", "amount": "49"}),
    quantity=1,
    period=DECEMBER,
    catalog=3,
)


def used(
    overage: int = 12, *, price: Price | None = GRADUATED, scale: int = 0, **more: Any
) -> SegmentUsage:
    """Usage whose cost is what the script would have recorded for its overage."""
    cost_nano = 0 if price is None else amount_nano(compile_price(price, scale), overage)
    fields = {
        "feature": "api_calls",
        "name": "API calls",
        "unit": "call",
        "scale": scale,
        "segment": 0,
        "period": NOVEMBER,
        "quantity": 100 + overage,
        "included": 100,
        "overage": overage,
        "cost_nano": cost_nano,
        "price": price,
        "catalog": 3,
    }
    return SegmentUsage(**{**fields, **more})


def billed(
    *usage: SegmentUsage, base: BaseCharge | None = PRO, currency: str = "USD", **more: Any
) -> Invoice:
    return invoice(
        id="in_1",
        customer="acme",
        currency=currency,
        start_ms=NOVEMBER.start_ms,
        end_ms=NOVEMBER.end_ms,
        base=base,
        usage=usage,
        **more,
    )


def test_an_invoice_has_the_shape_of_the_contract() -> None:
    assert billed(used(), status="upcoming").to_plain() == {
        "id": "in_1",
        "number": None,
        "status": "upcoming",
        "customer": "acme",
        "currency": "USD",
        "period": {"start": "2025-11-01T00:00:00Z", "end": "2025-12-01T00:00:00Z"},
        "lines": [
            {
                "kind": "base",
                "feature": None,
                "description": "Pro",
                "quantity": 1,
                "amount": "49.00",
                "exact": "49",
                "tiers": [{"tier": 1, "quantity": "1", "unit": "0", "flat": "49", "amount": "49"}],
                "period": {"start": "2025-12-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"},
                "catalog": 3,
                "plan": "pro",
            },
            {
                "kind": "usage",
                "feature": "api_calls",
                "description": "API calls",
                "quantity": 112,
                "amount": "115.00",
                "exact": "115",
                "tiers": [
                    {"tier": 1, "quantity": "10", "unit": "10", "flat": "2", "amount": "102"},
                    {"tier": 2, "quantity": "2", "unit": "5", "flat": "3", "amount": "13"},
                ],
                "period": {"start": "2025-11-01T00:00:00Z", "end": "2025-12-01T00:00:00Z"},
                "catalog": 3,
                "unit": "call",
                "included": 100,
                "overage": 12,
                "segment": 0,
            },
        ],
        "subtotal": "164.00",
        "discount": "0.00",
        "creditsApplied": "0.00",
        "tax": "0.00",
        "total": "164.00",
    }


def test_the_first_invoice_has_only_the_base_of_the_first_period() -> None:
    first = invoice(
        id="in_0",
        customer="acme",
        currency="USD",
        start_ms=NOVEMBER.start_ms,
        end_ms=NOVEMBER.start_ms,
        base=replace(PRO, period=NOVEMBER),
        usage=[],
    )
    assert [(line.kind, line.period) for line in first.lines] == [("base", NOVEMBER)]
    plain = first.to_plain()
    assert plain["period"] == {"start": "2025-11-01T00:00:00Z", "end": "2025-11-01T00:00:00Z"}
    assert plain["total"] == "49.00"


def test_no_base_line_stands_where_none_is_due_or_it_costs_nothing() -> None:
    free = replace(PRO, price=Price.from_plain({"model": "flat", "amount": "0"}))
    assert [line.kind for line in billed(used(), base=None).lines] == ["usage"]
    assert [line.kind for line in billed(used(), base=free).lines] == ["usage"]


def test_a_base_price_is_rated_on_the_quantity_of_the_subscription() -> None:
    seats = replace(PRO, price=GRADUATED, quantity=12)
    (line,) = billed(base=seats).lines
    assert (line.description, line.quantity, line.exact) == ("Pro × 12", 12, Fraction(115))


def test_free_usage_has_a_line_of_its_quantity() -> None:
    (line,) = billed(used(0, price=None), base=None).lines
    assert line.to_plain()["quantity"] == 100
    assert line.to_plain()["amount"] == "0.00"


def test_a_quantity_with_a_scale_is_shown_with_all_its_digits() -> None:
    (line,) = billed(
        used(12_500_000, scale=6, quantity=13_500_000, included=1_000_000), base=None
    ).lines
    plain = line.to_plain()
    assert (plain["quantity"], plain["included"], plain["overage"]) == (
        "13.500000",
        "1.000000",
        "12.500000",
    )
    assert plain["exact"] == "117.5"


def test_each_segment_has_a_line_and_its_tiers_start_at_zero() -> None:
    lines = billed(used(), used(3, segment=1, quantity=3, included=0), base=None).lines
    assert [line.exact for line in lines] == [115, 32]
    assert "tiers start at zero" in lines[1].description


def test_each_line_is_rounded_once_and_totals_are_sums_of_rounded_lines() -> None:
    price = Price.from_plain({"model": "per_unit", "unit": "0.005"})
    found = billed(used(1, price=price), used(1, price=price, feature="other"), base=None)
    assert [str(line.amount) for line in found.lines] == ["0.01", "0.01"]
    assert str(found.total) == "0.02"
    assert sum(line.exact for line in found.lines) == Fraction(1, 100)


def test_the_currency_decides_the_decimals() -> None:
    price = Price.from_plain({"model": "per_unit", "unit": "0.0125"})
    assert billed(used(100, price=price), base=None, currency="JPY").to_plain()["total"] == "1"
    assert billed(used(100, price=price), base=None, currency="KWD").to_plain()["total"] == "1.250"


@pytest.mark.parametrize("change", [1_000_000_000, -1_000_000_000, 2, -2])
def test_costs_that_the_price_does_not_explain_are_refused(change: int) -> None:
    wrong = used()
    wrong = replace(wrong, cost_nano=wrong.cost_nano + change)
    with pytest.raises(UsageNotRated, match=r"api_calls, segment 0, .* rated 115") as refused:
        billed(wrong)
    assert refused.value.usage is wrong


def test_costs_without_a_price_are_refused() -> None:
    with pytest.raises(UsageNotRated):
        billed(used(12, price=None, cost_nano=5))


def test_usage_of_an_earlier_period_is_a_late_line_at_its_own_margin() -> None:
    late = used(2, period=OCTOBER, billed_overage=9, quantity=2, included=0, cost_nano=18 * NANO)
    found = billed(late, used(), base=None).lines
    assert [(line.kind, line.exact) for line in found] == [
        ("late", Fraction(18)),
        ("usage", Fraction(115)),
    ]
    assert found[0].period == OCTOBER


def test_a_subscription_that_ends_within_its_period_has_no_late_lines() -> None:
    found = invoice(
        id="in_1",
        customer="acme",
        currency="USD",
        start_ms=NOVEMBER.start_ms,
        end_ms=NOVEMBER.start_ms + 1_000,
        base=None,
        usage=[used()],
    )
    assert [line.kind for line in found.lines] == ["usage"]


@pytest.mark.parametrize(
    ("plain", "exact"),
    [
        ({"model": "flat", "amount": "7", "always": True}, 7),
        ({"model": "graduated", "tiers": [{"unit": "1", "flat": "2"}], "zero_flat": True}, 2),
        ({"model": "graduated", "tiers": [{"unit": "1", "flat": "2"}]}, None),
        ({"model": "flat", "amount": "7"}, None),
    ],
)
def test_what_is_owed_without_usage_is_a_line_of_its_own(
    plain: dict[str, Any], exact: int | None
) -> None:
    unused = used(0, price=Price.from_plain(plain), quantity=0, included=0)
    lines = billed(unused, base=None).lines
    assert [(line.kind, line.exact) for line in lines] == (
        [("standing", Fraction(exact))] if exact else []
    )


def test_what_is_owed_without_usage_is_owed_once_and_not_beside_usage() -> None:
    always = Price.from_plain({"model": "flat", "amount": "7", "always": True})
    unused = used(0, price=always)
    assert [line.kind for line in billed(unused, replace(unused, segment=1), base=None).lines] == [
        "usage",
        "usage",
        "standing",
    ]
    found = billed(used(5, price=always), base=None).lines
    assert [(line.kind, line.exact) for line in found] == [("usage", Fraction(7))]


def test_tax_is_added_or_contained() -> None:
    added = billed(used(), tax=Tax(name="VAT", percent=Decimal(19)))
    assert (str(added.tax), str(added.total)) == ("31.16", "195.16")
    contained = billed(used(), tax=Tax(name="VAT", percent=Decimal(19), inclusive=True))
    assert (str(contained.tax), str(contained.total)) == ("26.18", "164.00")


PLAIN_PRICES: list[dict[str, Any]] = [
    {"model": "per_unit", "unit": "0.0000037"},
    {
        "model": "graduated",
        "tiers": [{"up_to": "0.5", "unit": "0.0033333"}, {"unit": "0.001", "flat": "5"}],
    },
    {"model": "volume", "tiers": [{"up_to": "1", "unit": "0.0033333"}, {"unit": "0.001"}]},
    {"model": "package", "size": "0.25", "amount": "0.1"},
    {"model": "flat", "amount": "3"},
]
PRICES = st.sampled_from(PLAIN_PRICES).map(Price.from_plain)


@settings(max_examples=200, deadline=None)
@given(PRICES, st.lists(st.integers(1, 900_000), min_size=1, max_size=30))
def test_an_invoice_bills_exactly_what_the_decisions_recorded(
    price: Price, steps: list[int]
) -> None:
    compiled = compile_price(price, 6)
    after, recorded = 0, 0
    for step in steps:
        recorded += amount_nano(compiled, after + step) - amount_nano(compiled, after)
        after += step
    usage = used(after, price=price, scale=6, cost_nano=recorded)
    (line,) = billed(usage, base=None).lines
    assert line.exact == Fraction(recorded, NANO)
    tiers = sum((tier.amount for tier in line.tiers), Fraction(0))
    assert abs(tiers - line.exact) < Fraction(1, NANO)
