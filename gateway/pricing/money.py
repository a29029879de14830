"""Numbers that are exact: decimal text in, decimal text out, and the one rounding there is.

Quantities are integers in a feature's base unit (`scale` decimals moved in); money is `Decimal` or `Fraction`,
and in the hot path an integer of nano units. Nothing here ever is a float.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from gateway.pricing.currency import minor_digits

NANO_SCALE = 9
NANO = 10**NANO_SCALE
"""Nano units in one unit of money."""
INTEGER_MAX = 2**53 - 1
"""The largest integer that is exact wherever it travels: JSON, Lua, JavaScript."""
DIGITS_MAX = 40
"""Digits in one number; more is a mistake or an attack."""
SCALE_MAX = 15
"""Decimals a feature may have: beyond, one whole unit no longer fits below 2^53."""

_DECIMAL = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
_GROUPED = re.compile(r"-?[0-9]+(?:_[0-9]+)+")
_COMMAS = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_EXPONENT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]{1,2}")


def parse_decimal(text: str, *, underscores: bool = False) -> Decimal:
    """Read digits, at most one point and an optional leading minus, exactly.

    `underscores` admits `1_000_000`, as the catalog does. Anything else raises ValueError, which shows the
    spelling to use where one can be guessed.
    """
    digits = text
    whole = text.partition(".")[0]
    if underscores and _GROUPED.fullmatch(whole):
        digits = whole.replace("_", "") + text[len(whole) :]
    if _DECIMAL.fullmatch(digits) is None:
        raise ValueError(f"{text[:50]!r} is not a decimal number{_spelling(text, underscores)}")
    if len(digits) > DIGITS_MAX:
        raise ValueError(f"a number has at most {DIGITS_MAX} characters; this has {len(digits)}")
    # Negative zero would compare equal to zero and print differently.
    return Decimal(digits) if digits.strip("-0.") else Decimal(0)


def _spelling(text: str, underscores: bool) -> str:
    if len(text) > DIGITS_MAX:
        return ""
    if _COMMAS.fullmatch(text):
        return f"; write {text.replace(',', '_' if underscores else '')}"
    if _EXPONENT.fullmatch(text):
        return f"; write {format_decimal(Decimal(text))}"
    return ""


def format_decimal(number: Decimal | Fraction) -> str:
    """All of a number and no more: no exponent, no trailing zeros, "0" for zero.

    A fraction that no decimal equals raises ValueError.
    """
    exact = Fraction(number)
    twos, rest = _without(2, exact.denominator)
    fives, rest = _without(5, rest)
    if rest != 1:
        raise ValueError(f"{exact} has no exact decimal form")
    digits = max(twos, fives)
    return _fixed(exact.numerator * 10**digits // exact.denominator, digits)


def _without(factor: int, number: int) -> tuple[int, int]:
    """How often a factor divides a number, and what is left."""
    times = 0
    while number % factor == 0:
        number //= factor
        times += 1
    return times, number


def _fixed(number: int, digits: int) -> str:
    """An integer with its last `digits` digits behind a point."""
    if digits == 0:
        return str(number)
    whole = str(abs(number)).rjust(digits + 1, "0")
    return f"{'-' if number < 0 else ''}{whole[:-digits]}.{whole[-digits:]}"


def format_amount(nano: int) -> str:
    """Nano units of money as a plain decimal string without trailing zeros: "0", "0.004"."""
    return _fixed(nano, NANO_SCALE).rstrip("0").rstrip(".")


def round_amount(amount: Decimal | Fraction, currency: str) -> Decimal:
    """The amount in the currency's minor unit, halves away from zero, with all its decimals ("115.00")."""
    digits = minor_digits(currency)
    scaled = Fraction(amount) * 10**digits
    whole, rest = divmod(abs(scaled.numerator), scaled.denominator)
    if 2 * rest >= scaled.denominator:
        whole += 1
    return Decimal(_fixed(-whole if scaled < 0 else whole, digits))


def split_amount(
    total: Decimal, weights: Sequence[int | Decimal | Fraction], currency: str
) -> list[Decimal]:
    """Parts of a rounded amount in proportion to weights, each rounded, which sum to it exactly.

    By largest remainder, the earlier part first among equals. Weights are not negative and not all zero.
    """
    digits = minor_digits(currency)
    minor = Fraction(total) * 10**digits
    exact = [Fraction(weight) for weight in weights]
    if minor.denominator != 1:
        raise ValueError(f"{total} is not rounded to the minor unit of {currency}")
    if not any(exact) or min(exact) < 0:
        raise ValueError("weights must not be negative, and not all zero")
    shares = [abs(minor) * weight / sum(exact) for weight in exact]
    parts = [share.numerator // share.denominator for share in shares]
    by_remainder = sorted(range(len(parts)), key=lambda part: (parts[part] - shares[part], part))
    for part in by_remainder[: int(abs(minor)) - sum(parts)]:
        parts[part] += 1
    return [Decimal(_fixed(-part if minor < 0 else part, digits)) for part in parts]


def format_quantity(base: int, scale: int) -> int | str:
    """Base units as the outside writes them: an integer, or with a scale a string with all its digits."""
    return base if scale == 0 else _fixed(base, scale)


def parse_quantity(value: int | str, scale: int) -> int:
    """Base units of a quantity as the outside writes it, from 0 to 2^53 - 1.

    Raises ValueError for anything that is not one exactly: booleans, floats, negatives, too many decimals.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(
            f"a quantity is an integer or a decimal string, not {type(value).__name__}"
        )
    base = (
        Fraction(value) if isinstance(value, int) else Fraction(parse_decimal(value))
    ) * 10**scale
    if base < 0:
        raise ValueError("a quantity is not negative")
    if base > INTEGER_MAX:
        raise ValueError(
            f"a quantity is at most {format_quantity(INTEGER_MAX, scale)}; this is too large"
        )
    if base.denominator != 1:
        raise ValueError(f"{value} has more than {scale} decimals")
    return int(base)
