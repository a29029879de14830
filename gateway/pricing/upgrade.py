"""Which plan to suggest to a customer who was denied."""

from fractions import Fraction
from functools import lru_cache

from gateway.pricing.catalog import Catalog
from gateway.pricing.plan import Plan, PlanFeature
from gateway.pricing.rating import rate

UPGRADES_CACHED_MAX = 10_000
"""Suggestions kept, over plans, features and quantities of the catalogs in use."""


def upgrade_of(catalog: Catalog, plan: Plan, feature: str, quantity: int = 1) -> str | None:
    """The cheapest plan of the same currency that gives more of a feature, or None.

    More is: it has the feature where this one does not, more is included in the same time, or usage goes on
    where this one blocks. Plans of the same interval come first. `plan` may have overrides.
    """
    if plan is catalog.plans.get(plan.id):
        return _upgrade_of_plan(catalog, plan.id, feature, quantity)
    return _cheapest(catalog, plan, feature, quantity)


@lru_cache(maxsize=UPGRADES_CACHED_MAX)
def _upgrade_of_plan(catalog: Catalog, plan: str, feature: str, quantity: int) -> str | None:
    return _cheapest(catalog, catalog.plans[plan], feature, quantity)


def _cheapest(catalog: Catalog, plan: Plan, feature: str, quantity: int) -> str | None:
    better = [
        (other.interval != plan.interval, _price_a_year(other, quantity), place, other.id)
        for place, other in enumerate(catalog.plans.values())
        if other.id != plan.id
        and not other.addon
        and other.currency == plan.currency
        and _is_more(plan, other, feature, quantity)
    ]
    return min(better)[-1] if better else None


def _price_a_year(plan: Plan, quantity: int) -> Fraction:
    """Money for a year, about: enough to put plans in order."""
    charges = rate(plan.price, quantity, currency=plan.currency)
    return charges.exact * _YEAR_MS / plan.interval.nominal_ms


_YEAR_MS = 365 * 86_400_000


def _is_more(plan: Plan, other: Plan, feature: str, quantity: int) -> bool:
    mine, theirs = plan.features.get(feature), other.features.get(feature)
    if theirs is None:
        return False
    if mine is None:
        return True
    if mine.included is None or mine.overage != "block":
        return theirs.included is None and mine.included is not None
    if theirs.included is None or theirs.overage != "block":
        return True
    return _included_a_year(theirs, other, quantity) > _included_a_year(mine, plan, quantity)


def _included_a_year(feature: PlanFeature, plan: Plan, quantity: int) -> Fraction:
    """Base units a year, about; what never resets comes once."""
    included = Fraction(feature.included_for(quantity) or 0)
    if feature.reset.unit == "never":
        return included
    reset = plan.usage_interval if feature.reset.unit == "period" else feature.reset
    return included * _YEAR_MS / reset.nominal_ms
