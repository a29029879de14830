"""Subscriptions: one customer on one plan, compiled into what they may use and when they are billed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.pricing.catalog import Catalog
from gateway.pricing.entitlement import QUANTITY_MAX, Entitlement, FeatureEntitlement
from gateway.pricing.invoice import BaseCharge
from gateway.pricing.plan import Plan, PlanFeature
from gateway.pricing.upgrade import upgrade_of
from gateway.pricing.window import Window, window_at, zone_named

PERIODS_MAX = 10_000
"""Billing periods that one call lists; more is a mistake in its bounds."""


class SubscriptionInvalid(ValueError):
    """The subscription cannot be compiled; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One phase of what a customer has bought. Times are milliseconds; raises SubscriptionInvalid."""

    customer: str
    plan: str
    catalog: Catalog
    catalog_version: int
    starts_ms: int
    ends_ms: int | None = None
    anchor_ms: int
    """Billing periods are counted from here; it may lie before or after the start."""
    quantity: int = 1
    """How many of the plan; `{each: …}` and prices on quantity refer to it."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    zone: str = "UTC"
    suspended: bool = False
    currency: str | None = None
    """The customer's; None is the plan's."""

    def __post_init__(self) -> None:
        plan = self.catalog.plans.get(self.plan)
        if plan is None:
            known = ", ".join(self.catalog.plans)
            raise SubscriptionInvalid(f"there is no plan {self.plan!r}; there is {known}")
        if plan.addon:
            raise SubscriptionInvalid(f"{self.plan} is an add-on; it is bought beside a plan")
        if self.currency is not None and self.currency != plan.currency:
            raise SubscriptionInvalid(
                f"the customer pays in {self.currency}, and plan {self.plan} is priced in"
                f" {plan.currency}"
            )
        if self.quantity < 1:
            raise SubscriptionInvalid(f"quantity must be at least 1, not {self.quantity}")
        if self.ends_ms is not None and self.ends_ms <= self.starts_ms:
            raise SubscriptionInvalid("a subscription ends after it starts")
        if self.starts_ms < 0 or self.anchor_ms < 0:
            raise SubscriptionInvalid("times are not before 1970")
        try:
            zone_named(self.zone)
        except ValueError as error:
            raise SubscriptionInvalid(str(error)) from None

    def is_running(self, at_ms: int) -> bool:
        """Whether it is in force at an instant."""
        return self.starts_ms <= at_ms and (self.ends_ms is None or at_ms < self.ends_ms)


def entitle(
    subscription: Subscription, *, version: int, following: Subscription | None = None
) -> Entitlement:
    """What the customer may use; `following` takes over at its own start.

    Raises CatalogInvalid for overrides that do not fit the plan, and SubscriptionInvalid for allowances
    beyond 2^53 - 1 and for kinds of feature that cannot be enforced yet.
    """
    plan = subscription.catalog.plan_with(subscription.plan, subscription.overrides)
    return Entitlement(
        customer=subscription.customer,
        version=version,
        catalog=subscription.catalog_version,
        plan=plan.id,
        plan_name=plan.name,
        currency=plan.currency,
        zone=subscription.zone,
        anchor_ms=subscription.anchor_ms,
        starts_ms=subscription.starts_ms,
        ends_ms=subscription.ends_ms,
        period=plan.usage_interval,
        suspended=subscription.suspended,
        quantity=subscription.quantity,
        features={
            name: _entitle_feature(subscription, plan, said) for name, said in plan.features.items()
        },
        links=subscription.catalog.links,
        statuses=subscription.catalog.statuses,
        next=_next(subscription, following, version),
    )


def _next(
    subscription: Subscription, following: Subscription | None, version: int
) -> Entitlement | None:
    if following is None:
        return None
    if following.customer != subscription.customer:
        raise SubscriptionInvalid("what follows belongs to another customer")
    if following.starts_ms < (subscription.ends_ms or subscription.starts_ms + 1):
        raise SubscriptionInvalid("what follows starts before this one has ended")
    return entitle(following, version=version)


def _entitle_feature(
    subscription: Subscription, plan: Plan, said: PlanFeature
) -> FeatureEntitlement:
    catalog = subscription.catalog
    if said.type not in ("metered", "boolean"):
        raise SubscriptionInvalid(
            f"{said.feature} in plan {plan.id} is {said.type}: not supported yet"
        )
    feature = catalog.features[said.feature]
    if said.type == "boolean":
        return FeatureEntitlement(
            feature=feature.id, name=feature.name, unit=feature.unit, type="boolean", included=None
        )
    included = said.included_for(subscription.quantity)
    if included is not None and included > QUANTITY_MAX:
        raise SubscriptionInvalid(
            f"{subscription.quantity} times the allowance of {feature.id} is more than 2^53 - 1"
            " base units"
        )
    return FeatureEntitlement(
        feature=feature.id,
        name=feature.name,
        unit=feature.unit,
        scale=feature.scale,
        weights=feature.weights,
        included=included,
        reset=said.reset,
        align=said.align,
        limits=said.limits,
        overage=said.overage,
        price=said.price if said.overage == "charge" else None,
        enforce=said.enforce,
        on_outage=said.on_outage,
        upgrade=upgrade_of(catalog, plan, feature.id, subscription.quantity),
    )


def billing_period_at(subscription: Subscription, at_ms: int) -> Window:
    """The billing period around an instant, counted from the anchor.

    It is not cut at the start or the end of the subscription: usage is recorded under the whole period.
    """
    return _window(subscription, at_ms, usage=True)


def interval_at(subscription: Subscription, at_ms: int) -> Window:
    """The stretch around an instant that the plan's price pays for."""
    return _window(subscription, at_ms, usage=False)


def _window(subscription: Subscription, at_ms: int, *, usage: bool) -> Window:
    plan = subscription.catalog.plans[subscription.plan]
    span = plan.usage_interval if usage else plan.interval
    return window_at(
        span,
        "anchor",
        at_ms=at_ms,
        anchor_ms=subscription.anchor_ms,
        zone=subscription.zone,
        period=plan.usage_interval,
    )


def billing_periods(
    subscription: Subscription, *, from_ms: int | None = None, to_ms: int
) -> Iterator[Window]:
    """The billing periods that overlap [from_ms, to_ms) and the subscription, oldest first.

    `from_ms` is its start unless given. Raises ValueError past PERIODS_MAX of them.
    """
    at_ms = max(subscription.starts_ms, subscription.starts_ms if from_ms is None else from_ms)
    end_ms = to_ms if subscription.ends_ms is None else min(to_ms, subscription.ends_ms)
    for _ in range(PERIODS_MAX):
        if at_ms >= end_ms:
            return
        period = billing_period_at(subscription, at_ms)
        yield period
        at_ms = period.end_ms
    raise ValueError(f"more than {PERIODS_MAX} billing periods")


def is_interval_boundary(subscription: Subscription, at_ms: int) -> bool:
    """Whether the plan's price falls due at an instant: an interval begins there."""
    return interval_at(subscription, at_ms).start_ms == at_ms


def base_charge(subscription: Subscription, at_ms: int) -> BaseCharge | None:
    """What is owed in advance at an instant; None where no interval begins, or the subscription is not running."""
    if not subscription.is_running(at_ms) or not is_interval_boundary(subscription, at_ms):
        return None
    plan = subscription.catalog.plan_with(subscription.plan, subscription.overrides)
    return BaseCharge(
        plan=plan.id,
        name=plan.name,
        price=plan.price,
        quantity=subscription.quantity,
        period=interval_at(subscription, at_ms),
        catalog=subscription.catalog_version,
    )
