"""The base price of a subscription's first interval, which is owed whole or not at all as long as nothing is prorated."""

from gateway.pricing.rating import rate
from gateway.pricing.subscription import Subscription, interval_at
from gateway.pricing.window import format_instant
from reconciler.billing import first_charge
from reconciler.control.errors import NotSupportedYet


def refuse_part_of_an_interval(subscription: Subscription) -> None:
    """Raise NotSupportedYet where the first base price would pay for less than the interval it is the price of."""
    interval = interval_at(subscription, subscription.starts_ms)
    if interval.start_ms == subscription.starts_ms:
        return
    base = first_charge(subscription)
    currency = subscription.catalog.plans[subscription.plan].currency
    if rate(base.price, base.quantity, currency=currency).exact == 0:
        return
    start, end = format_instant(subscription.starts_ms), format_instant(interval.end_ms)
    raise NotSupportedYet.at(
        "/anchor",
        f"Counted from there, the first base price would pay for a part of an interval, from {start} to "
        f"{end}: proration is not supported yet. Begin where an interval does, or leave the anchor out.",
        "not_supported_yet",
    )
