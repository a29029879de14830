"""Rating: the money for a quantity, exactly, with the part each tier has in it.

`rate` is the whole truth about a price; `compiled.py` holds the same in the form the deciding script can compute.
All arithmetic is in fractions; the only rounding is `Charges.amount`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from gateway.pricing.money import format_decimal, round_amount
from gateway.pricing.price import Price, Tier

EVENTS_MAX = 100_000
"""Events of one call whose amounts may be listed."""

Number = int | Decimal | Fraction
_ZERO = Fraction(0)


class QuantityNotRated(ValueError):
    """The price cannot be applied to what was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeLine:
    """The part one tier (counted from 1) has in a charge: `amount` = quantity × unit + flat.

    Under percentages `rate` stands for the unit price and `fixed` is owed for each of `events`; under packages
    `packages` are owed at `unit` each. All numbers are exact and may be negative where a volume price takes
    an earlier tier back.
    """

    tier: int = 1
    quantity: Fraction
    amount: Fraction
    unit: Fraction | None = None
    rate: Fraction | None = None
    flat: Fraction = _ZERO
    packages: int | None = None
    size: Fraction | None = None
    events: int | None = None
    fixed: Fraction | None = None

    def to_plain(self) -> dict[str, Any]:
        """The line as `tallygate rate` and an invoice show it: numbers as decimal text."""
        plain: dict[str, Any] = {"tier": self.tier}
        for name in (
            "quantity",
            "unit",
            "rate",
            "packages",
            "size",
            "events",
            "fixed",
            "flat",
            "amount",
        ):
            value = getattr(self, name)
            if value is not None:
                plain[name] = format_decimal(Fraction(value))
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Charges:
    """What a quantity costs: `exact`, `amount` (the same rounded to the currency) and the lines it is the sum of."""

    exact: Fraction
    amount: Decimal
    lines: tuple[ChargeLine, ...]


def rate(
    price: Price,
    quantity: Number,
    *,
    currency: str,
    already: Number = 0,
    included: Number = 0,
    events: int | Sequence[Number] | None = None,
    already_events: int = 0,
) -> Charges:
    """Charge for `quantity` units after `already`, of which the first `included` are free.

    `already` uses up `included` first. With nothing before it, what the price asks for no usage at all
    (`always`, `zero_flat`) is part of the charge; after that it never is again. `events` matter only to a
    `percentage` price: how many there were, or the amount of each, which together are `quantity`.

    Raises QuantityNotRated for negative numbers and for events that are missing or do not add up.
    """
    total, before, free = Fraction(quantity), Fraction(already), Fraction(included)
    if min(total, before, free) < 0 or already_events < 0:
        raise QuantityNotRated("quantity, already, included and already_events are not negative")
    if price.model == "percentage":
        lines = _percentage(price, total, before, free, events, already_events)
    elif events is not None:
        raise QuantityNotRated(f"events belong to a percentage price, not to {price.model}")
    else:
        first = before == 0
        lines = _RATED[price.model](
            price, max(_ZERO, before - free), max(_ZERO, before + total - free), first
        )
    exact = sum((line.amount for line in lines), _ZERO)
    return Charges(exact=exact, amount=round_amount(exact, currency), lines=tuple(lines))


def _flat(price: Price, before: Fraction, after: Fraction, first: bool) -> list[ChargeLine]:
    owed_before = before > 0 or (price.always and not first)
    if owed_before or not (after > 0 or price.always):
        return []
    amount = Fraction(price.amount)
    return [ChargeLine(quantity=after, unit=_ZERO, flat=amount, amount=amount)]


def _per_unit(price: Price, before: Fraction, after: Fraction, _first: bool) -> list[ChargeLine]:
    if after == before:
        return []
    unit = Fraction(price.unit)
    return [ChargeLine(quantity=after - before, unit=unit, amount=(after - before) * unit)]


def _package(price: Price, before: Fraction, after: Fraction, _first: bool) -> list[ChargeLine]:
    if after == before:
        return []
    packages = packages_of(price, after) - packages_of(price, before)
    unit = Fraction(price.amount)
    return [
        ChargeLine(
            quantity=after - before,
            packages=packages,
            size=Fraction(price.size),
            unit=unit,
            amount=packages * unit,
        )
    ]


def packages_of(price: Price, quantity: Fraction) -> int:
    """How many packages a quantity takes, begun ones counted unless the price rounds down."""
    whole, rest = divmod(quantity, Fraction(price.size))
    return whole + 1 if rest and price.round == "up" else whole


def _graduated(price: Price, before: Fraction, after: Fraction, first: bool) -> list[ChargeLine]:
    lines = []
    start = _ZERO
    for number, tier in enumerate(price.tiers, start=1):
        part = _within(tier, start, after) - _within(tier, start, before)
        owed_at_zero = price.zero_flat and number == 1
        entered_before = before > start or (owed_at_zero and not first)
        entered = after > start or owed_at_zero
        flat = Fraction(tier.flat) if entered and not entered_before else _ZERO
        if part or flat:
            lines.append(_tier_line(price, number, part, flat))
        start = Fraction(tier.up_to or 0)
        if tier.up_to is None or after <= start:
            break
    return lines


def _within(tier: Tier, start: Fraction, quantity: Fraction) -> Fraction:
    """How much of a quantity lies in a tier that begins after `start`."""
    end = quantity if tier.up_to is None else min(quantity, Fraction(tier.up_to))
    return max(_ZERO, end - start)


def _volume(price: Price, before: Fraction, after: Fraction, _first: bool) -> list[ChargeLine]:
    if after == before:
        return []
    number_before, number = _tier_of(price, before), _tier_of(price, after)
    if number_before == number:
        return [_tier_line(price, number, after - before, _ZERO)]
    # All of it moves to the new tier, so what the old one charged is taken back.
    lines = [_tier_line(price, number, after, Fraction(price.tiers[number - 1].flat))]
    if number_before:
        flat_before = Fraction(price.tiers[number_before - 1].flat)
        lines.insert(0, _tier_line(price, number_before, -before, -flat_before))
    return lines


def _tier_of(price: Price, quantity: Fraction) -> int:
    """The number of the tier a quantity falls in, `up_to` inclusive; 0 for nothing."""
    if quantity == 0:
        return 0
    ends = [tier.up_to for tier in price.tiers]
    return next(
        number
        for number, end in enumerate(ends, start=1)
        if end is None or quantity <= Fraction(end)
    )


def _tier_line(price: Price, number: int, part: Fraction, flat: Fraction) -> ChargeLine:
    tier = price.tiers[number - 1]
    if price.model == "graduated_percentage":
        share = Fraction(tier.rate)
        return ChargeLine(
            tier=number, quantity=part, rate=share, flat=flat, amount=part * share / 100 + flat
        )
    unit = Fraction(tier.unit)
    return ChargeLine(tier=number, quantity=part, unit=unit, flat=flat, amount=part * unit + flat)


def _percentage(
    price: Price,
    quantity: Fraction,
    before: Fraction,
    included: Fraction,
    events: int | Sequence[Number] | None,
    events_before: int,
) -> list[ChargeLine]:
    """Free quantity (and what is included) spares the percentage, free events spare the fixed part."""
    share, fixed = Fraction(price.rate) / 100, Fraction(price.fixed)
    free = included + Fraction(price.free_quantity)
    payable = max(_ZERO, before + quantity - free) - max(_ZERO, before - free)
    count = _count(price, quantity, events)
    paying = max(0, events_before + count - price.free_events) - max(
        0, events_before - price.free_events
    )
    amount = payable * share + paying * fixed
    if price.min is not None or price.max is not None:
        if not isinstance(events, Sequence):
            raise QuantityNotRated("min and max are per event: events must list the amount of each")
        amount = _each_event(price, events, max(_ZERO, free - before), events_before)
    if not (payable or paying or amount):
        return []
    return [
        ChargeLine(
            quantity=payable, rate=Fraction(price.rate), events=paying, fixed=fixed, amount=amount
        )
    ]


def _count(price: Price, quantity: Fraction, events: int | Sequence[Number] | None) -> int:
    if events is None:
        if price.fixed and quantity:
            raise QuantityNotRated(
                "a percentage with a fixed part needs events: how many, or the amounts"
            )
        return 0
    if isinstance(events, int):
        if events < 0:
            raise QuantityNotRated("events is not negative")
        return events
    amounts = [Fraction(amount) for amount in events]
    if len(amounts) > EVENTS_MAX:
        raise QuantityNotRated(
            f"at most {EVENTS_MAX} events may be listed; there are {len(amounts)}"
        )
    if any(amount < 0 for amount in amounts):
        raise QuantityNotRated("the amount of an event is not negative")
    if sum(amounts, _ZERO) != quantity:
        raise QuantityNotRated(f"the amounts of the events must add up to the quantity {quantity}")
    return len(amounts)


def _each_event(
    price: Price, events: Sequence[Number], free_left: Fraction, events_before: int
) -> Fraction:
    """The sum over events, each kept between the price's min and max unless it is wholly free."""
    total = _ZERO
    for number, event in enumerate(events, start=events_before):
        amount = Fraction(event)
        fixed_free = number < price.free_events or not price.fixed
        quantity_free = amount <= free_left and (amount > 0 or free_left > 0)
        spared = min(amount, free_left)
        free_left -= spared
        if fixed_free and quantity_free:
            continue
        charge = (amount - spared) * Fraction(price.rate) / 100
        charge += 0 if number < price.free_events else Fraction(price.fixed)
        if price.min is not None:
            charge = max(charge, Fraction(price.min))
        total += charge if price.max is None else min(charge, Fraction(price.max))
    return total


_RATED = {
    "flat": _flat,
    "per_unit": _per_unit,
    "package": _package,
    "graduated": _graduated,
    "graduated_percentage": _graduated,
    "volume": _volume,
}
