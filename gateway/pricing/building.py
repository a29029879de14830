"""The catalog written in Python instead of YAML: the same names, checked by the same rules.

    api_calls = metered("api_calls", name="API calls")
    pro = plan("pro", name="Pro", price=49, currency="USD", interval="monthly",
               features=[api_calls.included(1000, reset="hourly", overage="block")])
    live = catalog(pro)

Numbers are whole numbers, Decimals or text; a float is refused, for it is not exact.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gateway.pricing.catalog import Catalog, load_catalog

Exact = int | str | Decimal
"""A number that is exactly what it looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPart:
    """What a plan says of one feature; made by the methods of FeaturePart and CreditsPart."""

    of: "FeaturePart | CreditsPart"
    said: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePart:
    """A feature of the catalog. In a plan's list, a boolean feature alone means that it is on."""

    id: str
    said: Mapping[str, Any]

    def included(self, quantity: Exact | Mapping[str, Exact], **terms: Any) -> PlanPart:
        """`quantity` ("unlimited", or {"each": 100}) is paid for by the plan; `terms` as in the catalog."""
        return PlanPart(of=self, said={"included": quantity, **terms})

    def unlimited(self, **terms: Any) -> PlanPart:
        """Usage without end is paid for by the plan."""
        return self.included("unlimited", **terms)

    def usage(self, **terms: Any) -> PlanPart:
        """Nothing is included; `terms` as in the catalog (`overage`, `price`, `limits`, `credits` …)."""
        return PlanPart(of=self, said=terms)

    def on(self) -> PlanPart:
        """A boolean feature that the plan has."""
        return PlanPart(of=self, said=True)

    def off(self) -> PlanPart:
        """A boolean feature that the plan takes away from the one it extends."""
        return PlanPart(of=self, said=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditsPart:
    """A credit system of the catalog."""

    id: str
    said: Mapping[str, Any]

    def included(self, quantity: Exact, **terms: Any) -> PlanPart:
        """So many credits come with the plan, in every window of `reset`."""
        return PlanPart(of=self, said={"included": quantity, **terms})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanForm:
    """A plan being built."""

    id: str
    said: Mapping[str, Any]
    currency: str | None
    extends: "PlanForm | str | None"
    parts: Sequence[PlanPart]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackForm:
    """A pack being built."""

    id: str
    of: CreditsPart
    said: Mapping[str, Any]


@dataclass(slots=True)
class _Sections:
    """The catalog's sections as they fill up."""

    features: dict[str, Any] = field(default_factory=dict)
    credits: dict[str, Any] = field(default_factory=dict)
    plans: dict[str, Any] = field(default_factory=dict)

    def part(self, part: FeaturePart | CreditsPart) -> None:
        section = self.features if isinstance(part, FeaturePart) else self.credits
        if section.setdefault(part.id, part.said) != part.said:
            raise ValueError(f"{part.id} is defined twice, differently")

    def plan(self, plan: PlanForm) -> None:
        parent = plan.extends
        if isinstance(parent, PlanForm):
            self.plan(parent)
            parent = parent.id
        for part in plan.parts:
            self.part(part.of)
        said = {
            **({} if parent is None else {"extends": parent}),
            **({} if plan.currency is None else {"currency": plan.currency}),
            **plan.said,
            **({"features": {part.of.id: part.said for part in plan.parts}} if plan.parts else {}),
        }
        if self.plans.setdefault(plan.id, said) != said:
            raise ValueError(f"plan {plan.id} is defined twice, differently")


def metered(id: str, **said: Any) -> FeaturePart:
    """A feature that is used up: `name`, `unit`, `scale`, `weights`."""
    return FeaturePart(id=id, said={**said, "type": "metered"})


def boolean(id: str, **said: Any) -> FeaturePart:
    """A feature that a plan has or has not: `name`."""
    return FeaturePart(id=id, said={**said, "type": "boolean"})


def allocated(id: str, **said: Any) -> FeaturePart:
    """A feature of which a customer holds a quantity: `name`, `unit`, `scale`."""
    return FeaturePart(id=id, said={**said, "type": "allocated"})


def credits(id: str, *, costs: Mapping[str, Exact], **said: Any) -> CreditsPart:
    """Prepaid units: `costs` says how many one unit of each feature, by id, takes; `name`, `scale`."""
    return CreditsPart(id=id, said={**said, "costs": costs})


def plan(
    id: str,
    *,
    features: Iterable[PlanPart | FeaturePart] = (),
    currency: str | None = None,
    extends: PlanForm | str | None = None,
    **said: Any,
) -> PlanForm:
    """A plan: `name`, `price`, `interval` and every other name of the catalog's grammar."""
    parts = [part.on() if isinstance(part, FeaturePart) else part for part in features]
    return PlanForm(id=id, said=said, currency=currency, extends=extends, parts=parts)


def pack(id: str, credits: CreditsPart, **said: Any) -> PackForm:
    """Credits for sale: `name`, `quantity`, `price`, `expires`."""
    return PackForm(id=id, of=credits, said=said)


def catalog(
    *plans: PlanForm,
    currency: str | None = None,
    features: Iterable[FeaturePart] = (),
    packs: Iterable[PackForm] = (),
    **said: Any,
) -> Catalog:
    """Everything that is sold: `routes`, `links`, `statuses` and every other name of the grammar.

    `currency` may be left out when the plans name only one. `features` adds those that no plan has.
    Raises CatalogInvalid with everything that is wrong, and ValueError for two definitions under one id.
    """
    sections = _Sections()
    for feature in features:
        sections.part(feature)
    for form in plans:
        sections.plan(form)
    sold = list(packs)
    for form_of_pack in sold:
        sections.part(form_of_pack.of)
    named = {
        plan_said["currency"] for plan_said in sections.plans.values() if "currency" in plan_said
    }
    if currency is None and len(named) == 1:
        (currency,) = named
    return load_catalog(
        {
            "currency": currency,
            "features": sections.features,
            "credits": sections.credits,
            "plans": sections.plans,
            "packs": {each.id: {**each.said, "credits": each.of.id} for each in sold},
            **said,
        }
    )
