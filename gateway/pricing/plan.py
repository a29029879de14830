"""Plans: what a customer may use and what it costs, with every default filled in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.pricing.entitlement import Limit, Overage
from gateway.pricing.price import Price
from gateway.pricing.window import Align, Span

_PERIOD = Span("period")
_WEEK_MS = Span("week").nominal_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFeature:
    """What a plan says of one feature. Quantities are base units."""

    feature: str
    type: Literal["metered", "boolean", "allocated", "credits"]
    included: int | None = 0
    """Per window of `reset`, or per unit of the subscription's quantity too; None is unlimited."""
    each: bool = False
    reset: Span = _PERIOD
    align: Align = "anchor"
    limits: tuple[Limit, ...] = ()
    """The customer's limits in fixed windows."""
    overage: Overage = "block"
    price: Price | None = None
    enforce: bool = True
    on_outage: str = "bounded"

    def included_for(self, quantity: int) -> int | None:
        """The allowance of a subscription over `quantity` units of the plan; None is unlimited."""
        if self.included is None:
            return None
        return self.included * quantity if self.each else self.included


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What customers subscribe to."""

    id: str
    name: str
    currency: str
    price: Price
    """On the subscription's quantity, per `interval`, in advance."""
    interval: Span
    usage_interval: Span
    """The billing period."""
    features: Mapping[str, PlanFeature]
    """Without the boolean features that are off."""
    addon: bool = False
    plain: Mapping[str, Any] = field(compare=False, repr=False)
    """The plan as the catalog says it, `extends` resolved; what overrides are merged into."""


def default_align(span: Span) -> Align:
    """Calendar up to a week, anchor from a month on; the billing period and never are the anchor's."""
    if span.unit in ("period", "never"):
        return "anchor"
    return "calendar" if span.nominal_ms <= _WEEK_MS else "anchor"


def default_usage_interval(interval: Span) -> Span:
    """A month for years, else the interval itself."""
    return Span("month") if interval.unit == "year" else interval


def fits_wholly(part: Span, whole: Span) -> bool:
    """Whether `whole` is always a whole number of `part`s, so that their boundaries meet."""
    for units in ({"month": 1, "year": 12}, {"day": 1, "week": 7}):
        if part.unit in units and whole.unit in units:
            return (whole.count * units[whole.unit]) % (part.count * units[part.unit]) == 0
    clock = ("second", "minute", "hour")
    if part.unit in clock and whole.unit in clock:
        return whole.length_ms % part.length_ms == 0
    return False
