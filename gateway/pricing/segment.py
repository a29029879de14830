"""Segments: stretches of a billing period under one price, whose recorded costs must be what the price asks."""

from dataclasses import dataclass
from fractions import Fraction

from gateway.pricing.money import NANO, format_decimal
from gateway.pricing.price import Price
from gateway.pricing.rating import ChargeLine, rate
from gateway.pricing.window import Window, format_instant

RATED_WITHIN = Fraction(1, NANO)
"""How far recorded costs, each floored to a nano unit, may lie from the exact price of the whole."""


class UsageNotRated(Exception):
    """The costs recorded for a segment are not what its price asks for its overage."""

    def __init__(self, usage: "SegmentUsage", expected: Fraction) -> None:
        self.usage = usage
        self.expected = expected
        super().__init__(
            f"{usage.feature}, segment {usage.segment}, period from {format_instant(usage.period.start_ms)}:"
            f" recorded {format_decimal(usage.cost)}, rated {format_decimal(expected)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentUsage:
    """What was used of a feature in a stretch of one billing period under one price.

    Quantities are base units; `cost_nano` is the sum of the costs recorded with the decisions. For usage that
    came after its period was billed, `billed_overage` says how much of the segment earlier invoices hold.
    A feature that was not used is given with zeros, so that what its price asks for nothing is not forgotten.
    """

    feature: str
    name: str
    unit: str
    scale: int
    segment: int
    period: Window
    quantity: int
    included: int
    overage: int
    cost_nano: int
    price: Price | None
    catalog: int
    billed_overage: int = 0

    @property
    def cost(self) -> Fraction:
        """The recorded cost in units of money."""
        return Fraction(self.cost_nano, NANO)


def check_rated(usage: SegmentUsage, currency: str) -> tuple[ChargeLine, ...]:
    """The tiers of a segment's overage; raises UsageNotRated when its recorded costs are something else."""
    if usage.price is None:
        tiers: tuple[ChargeLine, ...] = ()
    elif usage.overage == 0 and usage.billed_overage == 0:
        # What a price asks for no usage at all is never recorded with a decision: it is a line of its own.
        tiers = ()
    else:
        unit = 10**usage.scale
        tiers = rate(
            usage.price,
            Fraction(usage.overage, unit),
            already=Fraction(usage.billed_overage, unit),
            currency=currency,
        ).lines
    expected = sum((tier.amount for tier in tiers), Fraction(0))
    if abs(expected - usage.cost) > RATED_WITHIN:
        raise UsageNotRated(usage, expected)
    return tiers
