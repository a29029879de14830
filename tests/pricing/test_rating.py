"""Money for a quantity: by hand, by property, and as the deciding script computes it."""

import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.pricing.compiled import (
    AMOUNT_NANO_MAX,
    AmountTooLarge,
    CompiledPrice,
    PriceNotEnforceable,
    amount_nano,
    compile_price,
)
from gateway.pricing.money import INTEGER_MAX, NANO
from gateway.pricing.price import Price
from gateway.pricing.rating import Charges, QuantityNotRated, rate
from gateway.pricing.rating_case import rate_case, rate_line

TIERS = [
    {"up_to": "10", "unit": "10", "flat": "2"},
    {"up_to": "20", "unit": "5", "flat": "3"},
    {"unit": "1"},
]
FLAT = {"model": "flat", "amount": "49"}
PER_UNIT = {"model": "per_unit", "unit": "0.004"}
PACKAGE = {"model": "package", "size": "100", "amount": "3"}
GRADUATED = {"model": "graduated", "tiers": TIERS}
VOLUME = {"model": "volume", "tiers": TIERS}
PERCENT = {"model": "percentage", "rate": "2.9", "fixed": "0.3"}
GRADUATED_PERCENT = {
    "model": "graduated_percentage",
    "tiers": [{"up_to": "1000", "rate": "2", "flat": "1"}, {"rate": "1.5", "flat": "2"}],
}


def priced(plain: dict[str, Any], quantity: str, **more: Any) -> Charges:
    numbers = {
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


def test_a_case_is_answered_in_the_shape_of_the_contract() -> None:
    case = {"id": "any", "price": {**GRADUATED, "tiers": [TIERS[0], {"unit": "5", "flat": "3"}]},
            "quantity": "12", "already": "0", "included": "0", "currency": "USD"}  # fmt: skip
    assert rate_case(case) == {
        "id": "any",
        "amount": "115.00",
        "exact": "115",
        "lines": [
            {"tier": 1, "quantity": "10", "unit": "10", "flat": "2", "amount": "102"},
            {"tier": 2, "quantity": "2", "unit": "5", "flat": "3", "amount": "13"},
        ],
    }


def test_a_case_rounds_once_to_the_currency() -> None:
    case = {"price": {"model": "per_unit", "unit": "0.005"}, "quantity": 1}
    amounts = {
        each: rate_case({**case, "currency": each})["amount"] for each in ("USD", "JPY", "KWD")
    }
    assert amounts == {"USD": "0.01", "JPY": "0", "KWD": "0.005"}


def test_numbers_of_a_line_are_read_as_text() -> None:
    line = (
        '{"id": 7, "price": {"model": "per_unit", "unit": 0.1}, "quantity": 0.3, "currency": "USD"}'
    )
    assert json.loads(rate_line(line)) == {
        "id": 7,
        "amount": "0.03",
        "exact": "0.03",
        "lines": [{"tier": 1, "quantity": "0.3", "unit": "0.1", "flat": "0", "amount": "0.03"}],
    }


def test_a_listed_event_needs_no_quantity_beside_it() -> None:
    case = {"price": PERCENT, "events": ["900", 100], "currency": "USD"}
    assert rate_case(case)["exact"] == "29.6"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"price": None}, "price is missing"),
        ({"currency": None}, "currency is missing"),
        ({"currency": "USX"}, "is not a currency"),
        ({"currency": 5}, "text like USD"),
        ({"quantity": None}, "quantity is missing"),
        ({"quantity": "-1"}, "not negative"),
        ({"quantity": "NaN"}, "not a decimal number"),
        ({"quantity": True}, "exact number"),
        ({"quantity": 1.5}, "exact number"),
        ({"quantity": ["1"]}, "exact number"),
        ({"quantity": "9" * 41}, "at most 40"),
        ({"already": "x"}, "already: 'x'"),
        ({"already_events": "0.5"}, "whole number"),
        ({"events": 1}, "belong to a percentage"),
        ({"quanttiy": "1"}, "did you mean quantity?"),
        ({"price": {"model": "per_unit"}}, "unit is missing"),
        ({"price": "free"}, "mapping"),
    ],
)
def test_a_case_that_cannot_be_priced_says_why(change: dict[str, Any], said: str) -> None:
    case = {"id": 1, "price": PER_UNIT, "quantity": "1", "currency": "USD", **change}
    answer = rate_case(case)
    assert answer.keys() == {"id", "error"}
    assert said in answer["error"]


@pytest.mark.parametrize(
    "line", ["", "3", "[]", "{", '"x"', "[" * 100_000, '{"quantity": NaN}', '{"quantity": 1' + "0" * 5000 + "}"]
)  # fmt: skip
def test_a_line_that_is_no_case_is_answered_with_an_error(line: str) -> None:
    assert "error" in json.loads(rate_line(line))


# Prices and quantities at random ----------------------------------------------------------------


def decimals(places: int, most: int) -> st.SearchStrategy[Decimal]:
    return st.integers(0, most * 10**places).map(lambda number: Decimal(number).scaleb(-places))


@st.composite
def tiers(draw: st.DrawFn, each: str) -> list[dict[str, str]]:
    ends = sorted(draw(st.sets(st.integers(1, 5_000), max_size=4)))
    plain = [{"up_to": str(end)} for end in ends] + [{}]
    for tier in plain:
        tier[each] = format(draw(decimals(4, 20)), "f")
        tier["flat"] = format(draw(decimals(2, 50)), "f")
    return plain


PRICES = st.one_of(
    st.builds(lambda amount: {"model": "flat", "amount": format(amount, "f")}, decimals(3, 100)),
    st.builds(lambda unit: {"model": "per_unit", "unit": format(unit, "f")}, decimals(6, 20)),
    st.builds(
        lambda size, amount, way: {
            "model": "package", "size": str(size), "amount": format(amount, "f"), "round": way,
        },
        st.integers(1, 500), decimals(2, 100), st.sampled_from(["up", "down"]),
    ),
    st.builds(lambda listed: {"model": "graduated", "tiers": listed}, tiers("unit")),
    st.builds(lambda listed: {"model": "volume", "tiers": listed}, tiers("unit")),
    st.builds(lambda listed: {"model": "graduated_percentage", "tiers": listed}, tiers("rate")),
).map(Price.from_plain)  # fmt: skip


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


@settings(max_examples=400, deadline=None)
@given(PRICES, st.integers(0, 6), st.data())
def test_the_compiled_price_is_the_rate_floored_to_a_nano_unit(
    price: Price, scale: int, data: st.DataObject
) -> None:
    try:
        compiled = compile_price(price, scale)
    except PriceNotEnforceable:
        assume(False)
        raise
    boundaries = [int((tier.up_to or 0) * 10**scale) for tier in price.tiers]
    near = st.sampled_from(boundaries or [0]).flatmap(
        lambda end: st.integers(max(0, end - 2), end + 2)
    )
    quantity = data.draw(st.one_of(near, st.integers(0, 8_000 * 10**scale)))
    exact = rate(price, Fraction(quantity, 10**scale), currency="USD").exact
    assert amount_nano(compiled, quantity) == exact * NANO // 1
    assert in_bounds(compiled, quantity)


@settings(max_examples=300, deadline=None)
@given(PRICES, st.integers(0, 9), st.integers(1, INTEGER_MAX))
def test_nothing_between_reaches_two_to_the_53(price: Price, scale: int, quantity: int) -> None:
    try:
        compiled = compile_price(price, scale)
        amount = amount_nano(compiled, quantity)
    except (PriceNotEnforceable, AmountTooLarge):
        return
    assert 0 <= amount <= AMOUNT_NANO_MAX
    assert in_bounds(compiled, quantity)


def in_bounds(compiled: CompiledPrice, quantity: int) -> bool:
    """Whether every number on the way to the amount of a quantity is exact in a double."""
    numbers = [compiled.denominator, *(number for tier in compiled.tiers for number in tier)]
    if compiled.kind != "p" and quantity > 0:
        tier = [each for each in compiled.tiers if each[0] < quantity][-1]
        start, unit_num, base_nano, base_rem = tier
        distance = quantity - start if compiled.kind == "g" else quantity
        whole, part = divmod(distance, compiled.denominator)
        rest = base_rem + part * unit_num
        numbers += [distance, whole, part, part * unit_num, rest, whole * unit_num]
        numbers += [base_nano + whole * unit_num + rest // compiled.denominator]
    return all(0 <= number <= INTEGER_MAX for number in numbers)


def test_a_compiled_graduated_price_carries_what_lies_before_each_tier() -> None:
    compiled = compile_price(Price.from_plain(GRADUATED), 0)
    assert compiled == CompiledPrice(
        kind="g",
        denominator=1,
        tiers=(
            (0, 10 * NANO, 2 * NANO, 0),
            (10, 5 * NANO, 105 * NANO, 0),
            (20, 1 * NANO, 155 * NANO, 0),
        ),
    )


def test_compiled_volume_and_package_prices_are_what_they_say() -> None:
    volume = compile_price(Price.from_plain(VOLUME), 0)
    assert volume.tiers[1] == (10, 5 * NANO, 3 * NANO, 0)
    package = compile_price(Price.from_plain(PACKAGE), 2)
    assert package == CompiledPrice(kind="p", denominator=1, tiers=((10_000, 3 * NANO, 1, 0),))


def test_a_price_below_a_nano_unit_adds_up() -> None:
    compiled = compile_price(Price.from_plain({"model": "per_unit", "unit": "0.0000004"}), 6)
    assert (compiled.denominator, compiled.tiers) == (2500, ((0, 1, 0, 0),))
    assert [amount_nano(compiled, each) for each in (1, 2499, 2500, 10**12)] == [0, 0, 1, 4 * 10**8]


@pytest.mark.parametrize(
    ("plain", "scale", "said"),
    [
        (PERCENT, 0, "percentage"),
        ({"model": "per_unit", "unit": "0.3333333333"}, 6, "too finely"),
        ({"model": "per_unit", "unit": "10000000"}, 0, "too finely"),
        (
            {"model": "graduated", "tiers": [{"up_to": "0.5", "unit": "1"}, {"unit": "2"}]},
            0,
            "decimals",
        ),
        ({"model": "package", "size": "0.5", "amount": "1"}, 0, "more decimals"),
        ({"model": "package", "size": "1", "amount": "0.0000000001"}, 0, "9 decimals"),
        ({"model": "package", "size": "1", "amount": "9000001"}, 0, "at most"),
        ({"model": "volume", "tiers": [{"unit": "1", "flat": "0.0000000001"}]}, 0, "9 decimals"),
        ({"model": "flat", "amount": "9000000.01"}, 0, "begins above 9000000"),
        (
            {"model": "graduated", "tiers": [{"up_to": "9000001", "unit": "1"}, {"unit": "2"}]},
            0,
            "tier 2",
        ),
        (
            {"model": "graduated", "tiers": [{"up_to": str(2**53), "unit": "0"}, {"unit": "1"}]},
            0,
            "beyond the largest quantity",
        ),
    ],
)
def test_a_price_that_cannot_be_exact_in_the_script_is_refused(
    plain: dict[str, Any], scale: int, said: str
) -> None:
    with pytest.raises(PriceNotEnforceable, match=said):
        compile_price(Price.from_plain(plain), scale)


def test_more_money_than_a_decision_counts_is_refused() -> None:
    compiled = compile_price(Price.from_plain({"model": "per_unit", "unit": "1000"}), 0)
    assert amount_nano(compiled, 9_000) == AMOUNT_NANO_MAX
    with pytest.raises(AmountTooLarge):
        amount_nano(compiled, 9_001)


def in_doubles(compiled: CompiledPrice) -> Callable[[int], int]:
    """The amount as a script with nothing but doubles computes it, by remainder first."""

    def amount(quantity: int) -> int:
        start, unit_num, base_nano, base_rem = next(
            tier for tier in reversed(compiled.tiers) if tier[0] < quantity
        )
        distance = float(quantity - start)
        part = distance % float(compiled.denominator)
        whole = (distance - part) / float(compiled.denominator)
        rest = float(base_rem) + part * float(unit_num)
        rest_whole = (rest - rest % float(compiled.denominator)) / float(compiled.denominator)
        return int(float(base_nano) + whole * float(unit_num) + rest_whole)

    return amount


@settings(max_examples=300, deadline=None)
@given(decimals(7, 3), st.integers(0, 6), st.integers(1, INTEGER_MAX))
def test_doubles_give_the_same_amount_by_remainder_first(
    unit: Decimal, scale: int, quantity: int
) -> None:
    compiled = compile_price(Price(model="per_unit", unit=unit), scale)
    try:
        expected = amount_nano(compiled, quantity)
    except AmountTooLarge:
        assume(False)
        raise
    assert in_doubles(compiled)(quantity) == expected
