"""The words a person reads: one sentence on what is left or why not, and what can be done."""

from functools import lru_cache

from gateway.pricing.decision import Decision
from gateway.pricing.money import format_quantity

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS

_REFUSALS = {
    "feature_not_in_plan": "{name} is not part of the plan {plan}.",
    "feature_unknown": "There is no feature called {feature}.",
    "customer_unknown": "There is no customer called {customer}.",
    "customer_suspended": "{customer} is suspended.",
    "subscription_ended": "{customer} has no running subscription.",
}


def message(decision: Decision) -> str:
    """One or two sentences, in the plural and unit of the feature, with the relative time of the reset."""
    if decision.reason in _REFUSALS:
        return _refusal(decision)
    if decision.reason == "granted":
        return f"{_name(decision)} is part of the plan."
    if decision.reason == "not_attempted":
        return "Not attempted, because another item of the request was denied."
    if not decision.allowed:
        return _denial(decision)
    return _standing(decision)


def actions(decision: Decision) -> list[dict[str, object]]:
    """What can be done about a denial: wait, upgrade. Empty when allowed."""
    if decision.allowed or decision.reason == "not_attempted":
        return []
    found: list[dict[str, object]] = []
    if decision.retry_after_ms is not None:
        found.append({"type": "wait", "until_ms": decision.at_ms + decision.retry_after_ms})
    ask = decision.ask
    if ask is not None and ask.feature.upgrade is not None:
        upgrade: dict[str, object] = {"type": "upgrade", "plan": ask.feature.upgrade}
        if (link := ask.entitlement.links.get("upgrade")) is not None:
            upgrade["url"] = link.replace("{plan}", ask.feature.upgrade)
        found.append(upgrade)
    return found


def relative(wait_ms: int) -> str:
    """A length of time in its largest one or two units, rounded up, so that waiting so long is enough."""
    if wait_ms <= 0:
        return "now"
    if wait_ms < _MINUTE_MS:
        return _counted(-(-wait_ms // 1000), "second")
    if wait_ms < _HOUR_MS:
        return _counted(-(-wait_ms // _MINUTE_MS), "minute")
    if wait_ms < 2 * _DAY_MS:
        hours, rest = divmod(-(-wait_ms // _MINUTE_MS), 60)
        return _counted(hours, "hour") + (f" {_counted(rest, 'minute')}" if rest else "")
    days, rest = divmod(-(-wait_ms // _HOUR_MS), 24)
    return _counted(days, "day") + (f" {_counted(rest, 'hour')}" if rest else "")


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _refusal(decision: Decision) -> str:
    return _REFUSALS[decision.reason].format(
        name=_name(decision),
        feature=decision.feature,
        customer=decision.customer,
        plan=decision.plan or "of the customer",
    )


def _name(decision: Decision) -> str:
    return decision.feature if decision.ask is None else decision.ask.feature.name


def _amount(decision: Decision, base: int) -> str:
    """A quantity with thousands separators; fractions keep only digits that say something."""
    if decision.ask is None or not (scale := decision.ask.feature.scale):
        return f"{base:,}"
    whole, _, fraction = str(format_quantity(base, scale)).partition(".")
    fraction = fraction.rstrip("0")
    return f"{int(whole):,}.{fraction}" if fraction else f"{int(whole):,}"


@lru_cache(maxsize=1_000)
def within(every: str) -> str:
    """ "this hour", "these 5 hours", "this billing period", or nothing for a window that never ends."""
    if every == "never":
        return ""
    if every == "period":
        return " this billing period"
    return f" these {every}" if every[0].isdigit() else f" this {every}"


def _resets(decision: Decision) -> str:
    if decision.resets_at_ms is None:
        return ""
    return f" Resets in {relative(decision.resets_at_ms - decision.at_ms)}."


def _denial(decision: Decision) -> str:
    bound = decision.binding
    assert bound is not None, "a denial has a bound that denied"
    what = f"{_amount(decision, bound.max)} {_name(decision)}"
    if bound.left == 0:
        said = f"All {what}{within(bound.every)} are used."
    else:
        said = (
            f"{_amount(decision, decision.quantity)} asked for, but only "
            f"{_amount(decision, bound.left)} of {what}{within(bound.every)} left."
        )
    if decision.quantity > bound.max:
        said += " That is more than one window holds."
    return said + _resets(decision)


def _standing(decision: Decision) -> str:
    bound = decision.binding
    if bound is None:
        return f"{_amount(decision, decision.used)} {_name(decision)} used."
    return standing(
        _name(decision),
        _amount(decision, bound.left),
        _amount(decision, bound.used),
        _amount(decision, bound.max),
        within(bound.every),
        _resets(decision),
        over=decision.overage > 0 or bound.used > bound.max,
    )


def standing(
    name: str, left: str, used: str, most: str, when: str, resets: str, *, over: bool
) -> str:
    """What is left of the tightest bound, or by how much it is passed. Amounts are words already."""
    if over:
        return f"{used} {name} used{when}, {most} included.{resets}"
    return f"{left} of {most} {name} left{when}.{resets}"
