"""Decide: the reference that the Lua must equal, and the answer a person reads from the numbers.

`decide` is the waterfall in Python: limits, then the included allowance, then overage. `describe` turns an outcome, whoever
computed it, into the decision of the HTTP contract, so that a fresh answer, a check, a replay and a balance are worded alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from gateway.pricing.ask import Ask
from gateway.pricing.compiled import amount_nano
from gateway.pricing.window import NEVER_ENDS_MS

HTTP_STATUS = {
    "included": 200,
    "overage": 200,
    "unlimited": 200,
    "granted": 200,
    "recorded": 200,
    "observed": 200,
    "not_attempted": 200,
    "limit_reached": 429,
    "allowance_exhausted": 429,
    "feature_not_in_plan": 403,
    "customer_suspended": 403,
    "subscription_ended": 403,
    "customer_unknown": 403,
    "feature_unknown": 403,
}
"""What to answer the end user with, by reason; the catalog's `statuses` may change one."""

_end_ms = attrgetter("end_ms")


class WindowCount(NamedTuple):
    """What a window has counted after the decision (before it, when denied), and when it ends."""

    used: int
    end_ms: int


class Outcome(NamedTuple):
    """The numbers of one decided item, in base units; cost and segment_cost at scale 9.

    A named tuple, as are the bounds below: they are made for every request, and cost a third of a frozen dataclass.
    """

    denied: bool
    quantity: int
    included: int
    overage: int
    beyond: int
    cost: int
    segment_overage: int
    segment_cost: int
    windows: Sequence[WindowCount]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The state a decision is taken against: windows rolled to the instant, and the open segment."""

    windows: Sequence[WindowCount]
    segment_overage: int = 0
    segment_cost: int = 0


def decide(ask: Ask, counts: Counts, quantity: int, *, force: bool = False) -> Outcome:
    """Decide one item. `force` records in full (track); the answer then is never denied.

    An `align: first_use` window that is not open yet must be passed with its end set as if it opened now.
    Raises AmountTooLarge when the overage would cost more than a decision counts.
    """
    feature = ask.feature
    limited = any(
        item.limit.enforce and counts.windows[item.window].used + quantity > item.limit.max
        for item in ask.limits
    )
    if feature.included is None:
        included = quantity
    else:
        used = counts.windows[ask.included_window].used
        included = min(quantity, max(0, feature.included - used))
    rest = quantity - included
    covered = feature.overage != "block" or rest == 0
    denied = feature.enforce and not force and (limited or not covered)

    overage = rest if covered else 0
    cost = 0
    if ask.price is not None and overage:
        before = counts.segment_overage
        cost = amount_nano(ask.price, before + overage) - amount_nano(ask.price, before)
    counted = 0 if denied else quantity
    return Outcome(
        denied=denied,
        quantity=quantity,
        included=included,
        overage=overage,
        beyond=0 if covered else rest,
        cost=cost,
        segment_overage=counts.segment_overage + (0 if denied else overage),
        segment_cost=counts.segment_cost + (0 if denied else cost),
        windows=[WindowCount(used=w.used + counted, end_ms=w.end_ms) for w in counts.windows],
    )


class Bound(NamedTuple):
    """One ceiling of a feature with what is used of it."""

    name: str
    every: str
    used: int
    max: int
    end_ms: int
    left: int
    """Base units that still fit; never negative."""
    reason: str
    enforce: bool
    paid: bool


@dataclass(slots=True, kw_only=True)
class Decision:
    """One decided feature. Quantities are base units, times are milliseconds UTC, cost is at scale 9."""

    ask: Ask | None
    customer: str
    feature: str
    allowed: bool
    reason: str
    http_status: int
    quantity: int
    at_ms: int
    id: str | None = None
    would: str | None = None
    balance: int | None = 0
    """What is left that is paid for and that no enforced limit forbids; None when unlimited."""
    available: int | None = 0
    """How much more would be allowed right now; None when nothing bounds it."""
    used: int = 0
    limit: int | None = None
    resets_at_ms: int | None = None
    retry_after_ms: int | None = None
    included: int = 0
    overage: int = 0
    beyond: int = 0
    cost: int = 0
    bounds: Sequence[Bound] = ()
    binding: Bound | None = None
    """The bound that denied (of several, the last to reset), else the one with least left."""
    segment_overage: int = 0
    segment_cost: int = 0
    plan: str | None = None
    catalog: int | None = None
    currency: str | None = None
    replayed: bool = False
    message: str = ""
    actions: Sequence[dict[str, object]] = field(default_factory=list)


def describe(
    ask: Ask, outcome: Outcome, *, at_ms: int, decision_id: str | None, refused: bool = False
) -> Decision:
    """The decision from its numbers. `refused`: another item of the same request denied."""
    entitlement, feature = ask.entitlement, ask.feature
    bounds = []
    binding: Bound | None = None
    balance: int | None = None
    available: int | None = None
    exceeded = False
    for name, every, most, window, reason, enforce, paid in ask.ceilings:
        used, end_ms = outcome.windows[window]
        left = most - used if most > used else 0
        bound = Bound(name, every, used, most, end_ms, left, reason, enforce, paid)
        bounds.append(bound)
        if binding is None or left < binding.left:
            binding = bound
        if balance is None or left < balance:
            balance = left if enforce or paid else balance
        if enforce and (available is None or left < available):
            available = left
        exceeded = exceeded or used > most
    denied = outcome.denied
    applied = not (denied or refused)
    over = _over(bounds, 0 if applied else outcome.quantity) if exceeded or not applied else []
    reason, would = _reason(ask, outcome, over)
    if refused and not denied:
        reason, would = "not_attempted", None
    if denied:
        binding = max(over, key=_end_ms)
    if feature.included == 0 and feature.overage != "block":
        balance = 0
    decision = Decision(
        ask=ask,
        customer=entitlement.customer,
        feature=feature.feature,
        allowed=applied,
        reason=reason,
        http_status=entitlement.statuses.get(reason) or HTTP_STATUS[reason],
        quantity=outcome.quantity,
        at_ms=at_ms,
        id=decision_id,
        would=would,
        balance=balance,
        available=available if feature.enforce else None,
        bounds=bounds,
        binding=binding,
        segment_overage=outcome.segment_overage,
        segment_cost=outcome.segment_cost,
        plan=entitlement.plan,
        catalog=entitlement.catalog,
        currency=entitlement.currency,
    )
    if binding is None:
        decision.used = outcome.windows[0].used
    else:
        decision.used, decision.limit = binding.used, binding.max
        decision.resets_at_ms = None if binding.end_ms == NEVER_ENDS_MS else binding.end_ms
    if denied:
        decision.retry_after_ms = _retry_after_ms(over, outcome.quantity, at_ms)
    if applied:
        decision.included, decision.overage = outcome.included, outcome.overage
        decision.beyond, decision.cost = outcome.beyond, outcome.cost
    return decision


def _over(bounds: Sequence[Bound], quantity: int) -> list[Bound]:
    """The bounds that this quantity more does not fit under, the enforced alone if there are any."""
    over = [
        bound
        for bound in bounds
        if bound.used + quantity > bound.max and (bound.enforce or not bound.paid)
    ]
    return [bound for bound in over if bound.enforce] or over


def _reason(ask: Ask, outcome: Outcome, over: Sequence[Bound]) -> tuple[str, str | None]:
    if outcome.denied:
        return max(over, key=_end_ms).reason, None
    if over:
        shadow = [bound for bound in over if not (ask.feature.enforce and bound.enforce)]
        if shadow:
            return "observed", max(shadow, key=_end_ms).reason
    if outcome.beyond:
        return "recorded", None
    if outcome.overage:
        return "overage", None
    return ("unlimited" if ask.feature.included is None else "included"), None


def _retry_after_ms(over: Sequence[Bound], quantity: int, at_ms: int) -> int | None:
    """The wait after which every bound in the way has reset; None when waiting never helps."""
    if any(quantity > bound.max or bound.end_ms == NEVER_ENDS_MS for bound in over):
        return None
    return max(bound.end_ms for bound in over) - at_ms
