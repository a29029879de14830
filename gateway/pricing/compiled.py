"""Compiled prices: what the deciding script computes with, in integers that stay below 2^53.

Money is in nano units, quantities in base units of the feature. `amount_nano` is the reference of the Lua
function, and equals `rate()` times 10^9, floored.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import floor, lcm
from typing import Literal

from gateway.pricing.money import INTEGER_MAX, NANO
from gateway.pricing.price import Price, Tier

AMOUNT_NANO_MAX = 9_000_000 * NANO
"""The most a customer may owe for one feature and period; just below 2^53."""

CompiledTier = tuple[int, int, int, int]


class PriceNotEnforceable(ValueError):
    """The price cannot be computed exactly while deciding; the message says why and what to change."""


class AmountTooLarge(OverflowError):
    """The quantity costs more than 9,000,000, which is as far as a decision counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPrice:
    """A price as integers: `kind` g (graduated and all that is a case of it), v (volume) or p (package).

    Tiers of g and v are `(start, unit_num, base_nano, base_rem)`: a quantity is in the last tier whose start is
    less than it, and a base unit costs unit_num / denominator nano. The one tier of p is
    `(size, amount_nano, 1 to round up or 0, 0)`.
    """

    kind: Literal["g", "v", "p"]
    denominator: int
    tiers: tuple[CompiledTier, ...]


def compile_price(price: Price, scale: int) -> CompiledPrice:
    """Compile a price for a feature with `scale` decimals; raises PriceNotEnforceable."""
    if price.model == "percentage":
        raise PriceNotEnforceable(
            "a percentage price counts events and amounts, which a decision does not know"
        )
    if price.model == "package":
        return _packages(price, scale)
    compiled = _tiered(price, scale)
    for number, (start, unit_num, base_nano, _) in enumerate(compiled.tiers, start=1):
        if compiled.denominator * (unit_num + 1) > INTEGER_MAX:
            raise PriceNotEnforceable(
                f"tier {number} is priced too finely for scale {scale}: use fewer decimals in the prices"
            )
        if start > INTEGER_MAX:
            raise PriceNotEnforceable(f"tier {number} begins beyond the largest quantity")
        if base_nano > AMOUNT_NANO_MAX:
            raise PriceNotEnforceable(f"tier {number} begins above {AMOUNT_NANO_MAX // NANO}")
    return compiled


def amount_nano(compiled: CompiledPrice, quantity: int) -> int:
    """What `quantity` base units cost since the segment began, floored to nano units.

    No intermediate reaches 2^53 unless the result passes AMOUNT_NANO_MAX, which raises AmountTooLarge.
    (In doubles take the remainder first: `part = fmod(d, D); whole = (d - part) / D` is exact, floor(d / D) is not.)
    """
    if quantity <= 0:
        return 0
    if compiled.kind == "p":
        ((size, package_nano, round_up, _),) = compiled.tiers
        whole, part = divmod(quantity, size)
        amount = (whole + (round_up if part else 0)) * package_nano
    else:
        start, unit_num, base_nano, base_rem = _tier_at(compiled, quantity)
        distance = quantity - start if compiled.kind == "g" else quantity
        whole, part = divmod(distance, compiled.denominator)
        amount = base_nano + whole * unit_num + (base_rem + part * unit_num) // compiled.denominator
    if amount > AMOUNT_NANO_MAX:
        raise AmountTooLarge(f"{quantity} base units cost more than {AMOUNT_NANO_MAX // NANO}")
    return amount


def _tier_at(compiled: CompiledPrice, quantity: int) -> CompiledTier:
    """The last tier that starts below the quantity."""
    found = compiled.tiers[0]
    for tier in compiled.tiers:
        if tier[0] >= quantity:
            break
        found = tier
    return found


def _packages(price: Price, scale: int) -> CompiledPrice:
    size = Fraction(price.size) * 10**scale
    nano = Fraction(price.amount) * NANO
    if size.denominator != 1:
        raise PriceNotEnforceable(
            f"size {price.size} has more decimals than the feature's scale {scale}"
        )
    if nano.denominator != 1:
        raise PriceNotEnforceable(f"amount {price.amount} has more than 9 decimals")
    if size > INTEGER_MAX or nano > AMOUNT_NANO_MAX:
        raise PriceNotEnforceable(
            f"a package is at most {INTEGER_MAX} base units and 9000000 of money"
        )
    return CompiledPrice(
        kind="p", denominator=1, tiers=((int(size), int(nano), int(price.round == "up"), 0),)
    )


def _tiered(price: Price, scale: int) -> CompiledPrice:
    """Every other model as tiers: `flat` is one tier with nothing but a flat, `per_unit` one without."""
    tiers = price.tiers or (Tier(unit=price.unit, flat=price.amount),)
    percent = price.model == "graduated_percentage"
    units = [Fraction(tier.rate) / 100 if percent else Fraction(tier.unit) for tier in tiers]
    units_nano = [unit * NANO / 10**scale for unit in units]
    starts = [0]
    for tier in tiers[:-1]:
        end = Fraction(tier.up_to or 0) * 10**scale
        if end.denominator != 1:
            raise PriceNotEnforceable(
                f"up_to {tier.up_to} has more decimals than the feature's scale {scale}"
            )
        starts.append(int(end))
    bases = _bases(price, tiers, starts, units_nano)
    denominator = lcm(
        *(unit.denominator for unit in units_nano), *(base.denominator for base in bases)
    )
    return CompiledPrice(
        kind="v" if price.model == "volume" else "g",
        denominator=denominator,
        tiers=tuple(
            (start, int(unit * denominator), floor(base), int((base - floor(base)) * denominator))
            for start, unit, base in zip(starts, units_nano, bases, strict=True)
        ),
    )


def _bases(
    price: Price, tiers: tuple[Tier, ...], starts: list[int], units_nano: list[Fraction]
) -> list[Fraction]:
    """Nano units owed on entering each tier: its flat and, unless volume, all that lies before it."""
    flats = [Fraction(tier.flat) * NANO for tier in tiers]
    if price.model == "volume":
        if any(flat.denominator != 1 for flat in flats):
            raise PriceNotEnforceable("a flat of a volume price has at most 9 decimals")
        return flats
    bases = [flats[0]]
    for number in range(1, len(tiers)):
        passed = (starts[number] - starts[number - 1]) * units_nano[number - 1]
        bases.append(bases[-1] + passed + flats[number])
    return bases
