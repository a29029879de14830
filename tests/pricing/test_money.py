"""Numbers come in exactly or not at all, and are rounded once."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pricing.currency import minor_digits
from gateway.pricing.money import (
    INTEGER_MAX,
    format_amount,
    format_decimal,
    format_quantity,
    parse_decimal,
    parse_quantity,
    round_amount,
    split_amount,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", "0"),
        ("007", "7"),
        ("0.10", "0.1"),
        ("-3.5", "-3.5"),
        ("-0.00", "0"),
        ("9" * 40, "9" * 40),
    ],
)
def test_decimal_text_is_read_exactly(text: str, number: str) -> None:
    assert parse_decimal(text) == Decimal(number)


@pytest.mark.parametrize(
    "text",
    ["", "-", ".5", "5.", "1e6", "1E6", "1,000", "1_000", "+1", " 1", "1 ", "1\n", "0x10", "NaN", "nan",
     "inf", "-Infinity", "1.2.3", "--1", "٣", "¹", "½", "1__0", "9" * 41, "1\u00a0000", "true"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"a number has|is not a decimal number"):
        parse_decimal(text)


@pytest.mark.parametrize(
    ("text", "spelling"),
    [("20,000", "write 20_000"), ("1e6", "write 1000000"), ("2.5E-3", "write 0.0025")],
)
def test_a_refusal_shows_the_spelling_to_use(text: str, spelling: str) -> None:
    with pytest.raises(ValueError, match=spelling):
        parse_decimal(text, underscores=True)


@pytest.mark.parametrize("text", ["_1", "1_", "1__0", "1._5", "1_000.5_0"])
def test_underscores_stand_only_between_digits_before_the_point(text: str) -> None:
    with pytest.raises(ValueError, match="is not a decimal number"):
        parse_decimal(text, underscores=True)


def test_underscores_are_read_where_they_are_admitted() -> None:
    assert parse_decimal("1_000_000", underscores=True) == 1_000_000
    assert parse_decimal("-1_000.50", underscores=True) == Decimal("-1000.5")


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=12, min_value=-(10**20), max_value=10**20
    )
)
def test_a_number_survives_being_written_and_read(number: Decimal) -> None:
    text = format_decimal(number)
    assert parse_decimal(text) == number
    assert "E" not in text
    assert text == "0" or not ("." in text and text.endswith("0"))


def test_a_fraction_without_a_decimal_form_is_refused() -> None:
    assert format_decimal(Fraction(-1, 8)) == "-0.125"
    with pytest.raises(ValueError, match="no exact decimal form"):
        format_decimal(Fraction(1, 3))


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0"),
        (4_000_000, "0.004"),
        (1, "0.000000001"),
        (-1_500_000_000, "-1.5"),
        (10**18, "1000000000"),
    ],
)
def test_an_amount_is_written_without_trailing_zeros(nano: int, text: str) -> None:
    assert format_amount(nano) == text


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("115", "USD", "115.00"),
        ("0.005", "USD", "0.01"),
        ("-0.005", "USD", "-0.01"),
        ("0.0049999999999999999999999999999999999", "USD", "0.00"),
        ("-0.004", "USD", "0.00"),
        ("2.5", "JPY", "3"),
        ("-2.5", "JPY", "-3"),
        ("3.5", "JPY", "4"),
        ("1.0005", "KWD", "1.001"),
        ("1.00005", "CLF", "1.0001"),
        ("12345678901234567890123456789012.345", "EUR", "12345678901234567890123456789012.35"),
    ],
)
def test_rounding_takes_halves_away_from_zero(amount: str, currency: str, rounded: str) -> None:
    assert str(round_amount(Decimal(amount), currency)) == rounded


def test_a_third_is_rounded_like_any_amount() -> None:
    assert str(round_amount(Fraction(2, 3), "USD")) == "0.67"


@pytest.mark.parametrize("currency", ["usd", "XXX", "", "US", "BTC"])
def test_an_unknown_currency_is_refused(currency: str) -> None:
    with pytest.raises(ValueError, match="is not a currency"):
        minor_digits(currency)


def test_a_total_is_split_by_largest_remainder() -> None:
    assert split_amount(Decimal("10.00"), [1, 1, 1], "USD") == [
        Decimal("3.34"),
        Decimal("3.33"),
        Decimal("3.33"),
    ]
    assert split_amount(Decimal("-0.05"), [1, 3], "USD") == [Decimal("-0.01"), Decimal("-0.04")]
    assert split_amount(Decimal(100), [1, 2, 4], "JPY") == [14, 29, 57]


@pytest.mark.parametrize(
    ("total", "weights"), [("1.005", [1]), ("1.00", []), ("1.00", [0, 0]), ("1.00", [2, -1])]
)
def test_what_cannot_be_split_is_refused(total: str, weights: list[int]) -> None:
    with pytest.raises(ValueError, match=r"rounded|weights"):
        split_amount(Decimal(total), weights, "USD")


@given(
    st.integers(-(10**12), 10**12),
    st.lists(st.integers(0, 10**9), min_size=1, max_size=20).filter(any),
)
def test_the_parts_of_a_split_sum_to_the_whole(minor: int, weights: list[int]) -> None:
    total = Decimal(minor).scaleb(-2)
    parts = split_amount(total, weights, "USD")
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        share = Fraction(total) * weight / sum(weights)
        assert abs(Fraction(part) - share) < Fraction(1, 100)


def test_a_quantity_has_the_form_of_its_feature() -> None:
    assert format_quantity(1250000, 6) == "1.250000"
    assert format_quantity(5, 6) == "0.000005"
    assert format_quantity(0, 2) == "0.00"
    assert format_quantity(-150, 2) == "-1.50"
    assert format_quantity(7, 0) == 7


@given(st.integers(0, INTEGER_MAX), st.integers(0, 15))
def test_a_quantity_survives_being_written_and_read(base: int, scale: int) -> None:
    assert parse_quantity(format_quantity(base, scale), scale) == base


@pytest.mark.parametrize(
    ("value", "scale", "said"),
    [
        (True, 0, "not bool"),
        (1.0, 0, "not float"),
        (None, 0, "not NoneType"),
        (-1, 0, "not negative"),
        ("-0.5", 1, "not negative"),
        ("1.5", 0, "more than 0 decimals"),
        ("0.0000001", 6, "more than 6 decimals"),
        (2**53, 0, "too large"),
        ("9007199254.740992", 6, "too large"),
        ("nan", 0, "not a decimal number"),
        ("1e3", 0, "write 1000"),
        (10**300, 0, "too large"),
        ("9" * 5000, 0, "at most 40"),
    ],
)
def test_what_is_no_quantity_is_refused(value: object, scale: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_quantity(value, scale)  # type: ignore[arg-type]


def test_an_integer_too_long_to_be_written_is_refused_like_any_other() -> None:
    with pytest.raises(ValueError, match="too large"):
        parse_quantity(10**5000, 0)


def test_trailing_zeros_beyond_the_scale_are_no_more_decimals() -> None:
    assert parse_quantity("1.5000", 1) == 15
    assert parse_quantity(3, 2) == 300
