"""Decisions that no counter takes part in: what the entitlement alone refuses, and features that are on or off."""

from gateway.codec import Item
from gateway.pricing.ask import ask
from gateway.pricing.decision import HTTP_STATUS, Decision
from gateway.pricing.entitlement import Entitlement
from gateway.usage_request import UsageRequest


def refusal(
    entitlement: Entitlement, item: Item | UsageRequest, at_ms: int, *, known: bool
) -> str | None:
    """The reason the entitlement itself denies an item, if it does. `known`: the catalog has the feature."""
    in_plan = item.feature in entitlement.features
    if not in_plan and not known:
        return "feature_unknown"
    if entitlement.suspended:
        return "customer_suspended"
    ended = entitlement.ends_ms is not None and at_ms >= entitlement.ends_ms
    if ended or at_ms < entitlement.starts_ms:
        return "subscription_ended"
    return None if in_plan else "feature_not_in_plan"


def uncounted(
    customer: str,
    item: Item | UsageRequest,
    entitlement: Entitlement | None,
    reason: str,
    at_ms: int,
) -> Decision:
    """The decision for an item by its reason alone; `granted` is the one that allows."""
    granted = reason == "granted"
    decision = Decision(
        ask=None,
        customer=customer,
        feature=item.feature,
        allowed=granted,
        reason=reason,
        http_status=HTTP_STATUS[reason],
        quantity=0 if granted else 1,
        at_ms=at_ms,
        balance=None if granted else 0,
        available=None if granted else 0,
    )
    if entitlement is None:
        return decision
    decision.http_status = entitlement.statuses.get(reason) or decision.http_status
    # Without a subscription there is no plan, no catalog, and perhaps no currency.
    decision.plan = entitlement.plan or None
    decision.catalog = entitlement.catalog or None
    decision.currency = entitlement.currency or None
    feature = entitlement.features.get(item.feature)
    if feature is not None:
        decision.ask = ask(entitlement, feature, max(at_ms, entitlement.starts_ms))
    return decision
