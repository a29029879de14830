"""Money for a quantity: by hand, and by property."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pricing.price import Price
from gateway.pricing.rating import Charges, QuantityNotRated, rate
from tests.pricing.prices import (
    FLAT,
    GRADUATED,
    GRADUATED_PERCENT,
    PACKAGE,
    PER_UNIT,
    PERCENT,
    PRICES,
    VOLUME,
    decimals,
)


def priced(plain: dict[str, Any], quantity: str, **more: Any) -> Charges:
    numbers: dict[str, Any] = {
        name: Decimal(value) if isinstance(value, str) else value for name, value in more.items()
    }
    return rate(Price.from_plain(plain), Decimal(quantity), currency="USD", **numbers)


@pytest.mark.parametrize(
    ("plain", "quantity", "exact"),
    [
        (FLAT, "0", "0"),
        (FLAT, "0.001", "49"),
        (FLAT, "1000", "49"),
        ({**FLAT, "always": True}, "0", "49"),
        ({**FLAT, "always": True}, "5", "49"),
        (PER_UNIT, "0", "0"),
        (PER_UNIT, "1234", "4.936"),
        (PER_UNIT, "0.5", "0.002"),
        (PACKAGE, "0", "0"),
        (PACKAGE, "0.01", "3"),
        (PACKAGE, "100", "3"),
        (PACKAGE, "100.000001", "6"),
        ({**PACKAGE, "round": "down"}, "99.99", "0"),
        ({**PACKAGE, "round": "down"}, "250", "6"),
        (GRADUATED, "0", "0"),
        (GRADUATED, "1", "12"),
        (GRADUATED, "10", "102"),
        (GRADUATED, "10.5", "107.5"),
        (GRADUATED, "12", "115"),
        (GRADUATED, "20", "155"),
        (GRADUATED, "30", "165"),
        ({**GRADUATED, "zero_flat": True}, "0", "2"),
        ({**GRADUATED, "zero_flat": True}, "12", "115"),
        (VOLUME, "0", "0"),
        (VOLUME, "10", "102"),
        (VOLUME, "10.5", "55.5"),
        (VOLUME, "20", "103"),
        (VOLUME, "20.1", "20.1"),
        (GRADUATED_PERCENT, "0", "0"),
        (GRADUATED_PERCENT, "1000", "21"),
        (GRADUATED_PERCENT, "3000", "53"),
    ],
)
def test_each_model_charges_what_the_table_says(
    plain: dict[str, Any], quantity: str, exact: str
) -> None:
    charges = priced(plain, quantity)
    assert charges.exact == Decimal(exact)
    assert sum((line.amount for line in charges.lines), Fraction(0)) == charges.exact


@pytest.mark.parametrize(
    ("plain", "already", "quantity", "included", "exact"),
    [
        (FLAT, "1", "5", "0", "0"),
        (FLAT, "3", "5", "8", "0"),
        (FLAT, "3", "5", "7", "49"),
        ({**FLAT, "always": True}, "1", "5", "0", "0"),
        (PER_UNIT, "90", "20", "100", "0.04"),
        (PACKAGE, "50", "50", "0", "0"),
        (PACKAGE, "50", "51", "0", "3"),
        (GRADUATED, "9", "1", "0", "10"),
        (GRADUATED, "9", "2", "0", "18"),
        (GRADUATED, "10", "0.5", "0", "5.5"),
        (GRADUATED, "5", "7", "2", "70"),
        (GRADUATED, "5", "8", "2", "78"),
        ({**GRADUATED, "zero_flat": True}, "1", "9", "10", "0"),
        ({**GRADUATED, "zero_flat": True}, "0", "9", "10", "2"),
        (VOLUME, "9", "2", "0", "-34"),
        (VOLUME, "20", "1", "0", "-82"),
        (VOLUME, "5", "1", "0", "10"),
    ],
)
def test_a_charge_after_another_is_the_difference_of_two_wholes(
    plain: dict[str, Any], already: str, quantity: str, included: str, exact: str
) -> None:
    charges = priced(plain, quantity, already=already, included=included)
    assert charges.exact == Decimal(exact)
    assert sum((line.amount for line in charges.lines), Fraction(0)) == charges.exact


@pytest.mark.parametrize(
    ("more", "quantity", "events", "exact"),
    [
        ({}, "1000", 2, "29.6"),
        ({"fixed": "0"}, "1000", None, "29"),
        ({}, "0", 0, "0"),
        ({}, "0", 1, "0.3"),
        ({"free_events": "3"}, "1000", 2, "29"),
        ({"free_events": "3"}, "1000", 5, "29.6"),
        ({"free_quantity": "400"}, "1000", 2, "18"),
        ({"free_quantity": "2000"}, "1000", 2, "0.6"),
        ({}, "1000", ["900", "100"], "29.6"),
        ({"max": "5"}, "1000", ["900", "100"], "8.2"),
        ({"min": "5"}, "1000", ["900", "100"], "31.4"),
        ({"min": "5", "free_events": "1", "free_quantity": "900"}, "1000", ["900", "100"], "5"),
    ],
)
def test_a_percentage_charges_the_amount_and_each_event(
    more: dict[str, Any], quantity: str, events: Any, exact: str
) -> None:
    listed = [Decimal(each) for each in events] if isinstance(events, list) else events
    charges = priced({**PERCENT, **more}, quantity, events=listed)
    assert charges.exact == Decimal(exact)


def test_a_percentage_goes_on_where_the_last_call_stopped() -> None:
    price = {**PERCENT, "free_quantity": "150", "free_events": "2"}
    whole = priced(price, "400", events=4)
    first = priced(price, "100", events=1)
    rest = priced(price, "300", events=3, already="100", already_events=1)
    assert first.exact + rest.exact == whole.exact == Decimal("7.85")


def test_events_that_are_missing_or_do_not_add_up_are_refused() -> None:
    with pytest.raises(QuantityNotRated, match="needs events"):
        priced(PERCENT, "10")
    with pytest.raises(QuantityNotRated, match="must list the amount"):
        priced({**PERCENT, "max": "1"}, "10", events=2)
    with pytest.raises(QuantityNotRated, match="add up"):
        priced(PERCENT, "10", events=[Decimal(4), Decimal(5)])
    with pytest.raises(QuantityNotRated, match="belong to a percentage"):
        priced(PER_UNIT, "10", events=2)
    with pytest.raises(QuantityNotRated, match="not negative"):
        priced(PER_UNIT, "-1")


def test_lines_show_the_part_of_each_tier() -> None:
    lines = [line.to_plain() for line in priced(GRADUATED, "12").lines]
    assert lines == [
        {"tier": 1, "quantity": "10", "unit": "10", "flat": "2", "amount": "102"},
        {"tier": 2, "quantity": "2", "unit": "5", "flat": "3", "amount": "13"},
    ]


def test_a_volume_price_that_falls_takes_the_earlier_tier_back_on_a_line() -> None:
    lines = [line.to_plain() for line in priced(VOLUME, "2", already="9").lines]
    assert lines == [
        {"tier": 1, "quantity": "-9", "unit": "10", "flat": "-2", "amount": "-92"},
        {"tier": 2, "quantity": "11", "unit": "5", "flat": "3", "amount": "58"},
    ]


@settings(max_examples=300, deadline=None)
@given(
    PRICES,
    st.lists(decimals(3, 2_000), min_size=1, max_size=8).filter(any),
    decimals(2, 1_000),
)
def test_steps_sum_to_the_whole(price: Price, steps: list[Decimal], included: Decimal) -> None:
    already, exact = Decimal(0), Fraction(0)
    for step in steps:
        charges = rate(price, step, already=already, included=included, currency="USD")
        assert sum((line.amount for line in charges.lines), Fraction(0)) == charges.exact
        exact += charges.exact
        already += step
    assert exact == rate(price, already, included=included, currency="USD").exact


@settings(max_examples=200, deadline=None)
@given(PRICES, decimals(3, 2_000), decimals(3, 2_000))
def test_included_is_taken_off_before_the_price(
    price: Price, quantity: Decimal, free: Decimal
) -> None:
    beyond = max(Decimal(0), quantity - free)
    whole = rate(price, quantity, included=free, currency="USD")
    assert whole == rate(price, beyond, currency="USD")
