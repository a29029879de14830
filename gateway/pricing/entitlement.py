"""What one customer may use, compiled: the document the gateway enforces and the reconciler bills by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.pricing.price import Price
from gateway.pricing.window import Align, Span

FORMAT = 1
"""Number of the plain form written by `Entitlement.to_plain`; a release reads its own and the one before it."""

QUANTITY_MAX = 2**53 - 1
"""The largest quantity, in base units, that any part may hold: above it a Lua number is no longer exact."""

Overage = Literal["block", "charge", "allow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A ceiling on the quantity used within one window; it never pays for anything."""

    name: str
    max: int
    span: Span
    align: Align
    enforce: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureEntitlement:
    """What the entitlement says of one feature. Quantities are integers in the feature's base unit."""

    feature: str
    name: str
    unit: str
    scale: int = 0
    type: Literal["metered", "boolean"] = "metered"
    weights: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    included: int | None = 0
    """Base units per window of `reset`; None is unlimited."""
    reset: Span = Span(unit="period")
    align: Align = "anchor"
    limits: tuple[Limit, ...] = ()
    overage: Overage = "block"
    price: Price | None = None
    enforce: bool = True
    on_outage: str = "bounded"
    alerts: tuple[str, ...] = ()
    upgrade: str | None = None
    """The plan to suggest when this feature is denied, chosen once per catalog."""

    def to_plain(self) -> dict[str, Any]:
        """Strings, integers, booleans, lists and dicts only; exact."""
        return {
            "feature": self.feature,
            "name": self.name,
            "unit": self.unit,
            "scale": self.scale,
            "type": self.type,
            "weights": {variant: dict(kinds) for variant, kinds in self.weights.items()},
            "included": self.included,
            "reset": str(self.reset),
            "align": self.align,
            "limits": [
                {
                    "name": limit.name,
                    "max": limit.max,
                    "every": str(limit.span),
                    "align": limit.align,
                    "enforce": limit.enforce,
                }
                for limit in self.limits
            ],
            "overage": self.overage,
            "price": None if self.price is None else self.price.to_plain(),
            "enforce": self.enforce,
            "on_outage": self.on_outage,
            "alerts": list(self.alerts),
            "upgrade": self.upgrade,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "FeatureEntitlement":
        """The inverse of `to_plain`."""
        limits = tuple(
            Limit(
                name=limit["name"],
                max=limit["max"],
                span=Span.parse(limit["every"]),
                align=limit["align"],
                enforce=limit["enforce"],
            )
            for limit in plain["limits"]
        )
        price = plain["price"]
        return cls(
            **{
                **plain,
                "reset": Span.parse(plain["reset"]),
                "limits": limits,
                "price": None if price is None else Price.from_plain(price),
                "alerts": tuple(plain["alerts"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlement:
    """What one customer may use between two instants, and what follows it."""

    customer: str
    version: int
    """Grows with every change to the customer; the script refuses an older one than Redis holds."""
    catalog: int
    plan: str
    plan_name: str
    currency: str
    zone: str
    """IANA name; calendar windows are cut in it."""
    anchor_ms: int
    """The instant from which billing periods and anchored windows are counted."""
    starts_ms: int
    ends_ms: int | None = None
    period: Span
    """The billing period: tiers, caps and `reset: period` refer to it."""
    suspended: bool = False
    quantity: int = 1
    features: Mapping[str, FeatureEntitlement]
    links: Mapping[str, str] = field(default_factory=dict)
    statuses: Mapping[str, int] = field(default_factory=dict)
    next: "Entitlement | None" = None
    """What takes over at its own `starts_ms`, without a trigger; its version equals this one's."""

    def at(self, at_ms: int) -> "Entitlement":
        """The entitlement in force at an instant."""
        current = self
        while current.next is not None and at_ms >= current.next.starts_ms:
            current = current.next
        return current

    def to_plain(self) -> dict[str, Any]:
        """Strings, integers, booleans, lists and dicts only; exact."""
        return {
            "format": FORMAT,
            "customer": self.customer,
            "version": self.version,
            "catalog": self.catalog,
            "plan": self.plan,
            "plan_name": self.plan_name,
            "currency": self.currency,
            "zone": self.zone,
            "anchor_ms": self.anchor_ms,
            "starts_ms": self.starts_ms,
            "ends_ms": self.ends_ms,
            "period": str(self.period),
            "suspended": self.suspended,
            "quantity": self.quantity,
            "features": {name: feature.to_plain() for name, feature in self.features.items()},
            "links": dict(self.links),
            "statuses": dict(self.statuses),
            "next": None if self.next is None else self.next.to_plain(),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Entitlement":
        """The inverse of `to_plain`. Raises ValueError for a format this release does not read."""
        fields = dict(plain)
        if (found := fields.pop("format", None)) != FORMAT:
            raise ValueError(f"entitlement format {found} is not one this release reads ({FORMAT})")
        following = fields["next"]
        return cls(
            **{
                **fields,
                "period": Span.parse(fields["period"]),
                "features": {
                    name: FeatureEntitlement.from_plain(feature)
                    for name, feature in fields["features"].items()
                },
                "next": None if following is None else cls.from_plain(following),
            }
        )
