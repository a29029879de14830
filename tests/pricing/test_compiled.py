"""The price as the deciding script computes it: the same money, in integers below 2^53."""

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
from gateway.pricing.rating import rate
from tests.pricing.prices import (
    GRADUATED,
    PACKAGE,
    PERCENT,
    PRICES,
    VOLUME,
    decimals,
)


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
