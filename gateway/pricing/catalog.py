"""The catalog: features, plans and prices, read from plain data and checked as a whole."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from gateway.pricing.catalog_grammar import CATALOG, PLAN
from gateway.pricing.catalog_problem import CatalogInvalid, CatalogProblem, Path, Problems
from gateway.pricing.catalog_rules import (
    check_entities,
    read_credits,
    read_feature,
    read_pack,
    read_routes,
    read_statuses,
)
from gateway.pricing.catalog_scalars import INVALID
from gateway.pricing.feature import CreditSystem, Definitions, Feature, Pack
from gateway.pricing.inheritance import Inheritance
from gateway.pricing.merging import merge, without_nothing
from gateway.pricing.plan import Plan
from gateway.pricing.plan_reading import PlanReader, check_currency, read_plan
from gateway.pricing.routes import Route

__all__ = [
    "Catalog", "CatalogInvalid", "CatalogProblem", "Feature", "Plan", "load_catalog",
    "read_overrides",
]  # fmt: skip

FIXED_BY_PLAN = ("extends", "addon", "currency", "interval", "usage_interval", "trial", "name")
"""What the overrides of one subscription cannot change."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Catalog:
    """One version of everything that is sold; two that say the same are equal."""

    currency: str
    default_plan: str | None
    definitions: Definitions = field(repr=False)
    plans: Mapping[str, Plan]
    packs: Mapping[str, Pack]
    routes: tuple[Route, ...]
    links: Mapping[str, str]
    statuses: Mapping[str, int]
    plain: Mapping[str, Any] = field(repr=False)
    sha256: str
    """Of the normalised form."""
    inheritance: Inheritance = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalog) and other.sha256 == self.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    @property
    def features(self) -> Mapping[str, Feature]:
        """What can be used, by id."""
        return self.definitions.features

    @property
    def credits(self) -> Mapping[str, CreditSystem]:
        """Credit systems, by id."""
        return self.definitions.credits

    def to_plain(self) -> dict[str, Any]:
        """The normalised form: `extends` resolved, numbers as text, one spelling for everything."""
        return dict(self.plain)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Catalog":
        """The inverse of `to_plain`. Raises CatalogInvalid."""
        return load_catalog(plain)

    def plan_with(self, plan: str, overrides: Mapping[str, Any] | None = None) -> Plan:
        """A plan with the overrides of one subscription merged in.

        Raises KeyError for a plan that does not exist, and CatalogInvalid with every problem of the
        overrides, at paths that begin with "overrides".
        """
        found = self.plans[plan]
        if not overrides:
            return found
        said = read_overrides(overrides)
        return _overridden(self.definitions, found, said)


def read_overrides(overrides: Any) -> dict[str, Any]:
    """The overrides of one subscription, normalised: numbers as text, None where a value is taken away.

    Raises CatalogInvalid. Whether they fit a plan is for `Catalog.plan_with` to say.
    """
    root: Path = ("overrides",)
    problems = Problems()
    said = PLAN.read(overrides, root, problems)
    for word in FIXED_BY_PLAN:
        if said is not INVALID and word in said:
            message = f"{word!r} belongs to the plan and cannot be overridden."
            problems.add((*root, word), "not_for_overrides", message, at_name=True)
    problems.raise_if_any()
    return dict(said)


def load_catalog(data: Any) -> Catalog:
    """Read a catalog from plain data: maps, lists, text, whole numbers, Decimals, true, false and None.

    Raises CatalogInvalid with everything that is wrong. What is not built yet is not wrong here;
    `unsupported.py` names it.
    """
    problems = Problems()
    said = CATALOG.read(data, (), problems)
    if said is INVALID:
        raise CatalogInvalid(problems.found)
    said = _complete(said, data, problems)
    definitions = _definitions(said, data, problems)
    inheritance = Inheritance(said["plans"], _map(data, "plans"))
    inheritance.check(problems)
    plans = _plans(definitions, inheritance, said["plans"], problems)
    default_plan = _default_plan(said, definitions, plans, problems)
    packs = {
        name: read_pack(name, plain, definitions, problems) for name, plain in said["packs"].items()
    }
    routes = read_routes(said.get("routes", ()), definitions.features, problems)
    statuses = read_statuses(said.get("statuses", {}), problems)
    problems.raise_if_any()
    plain = _normalised(said, plans)
    return Catalog(
        currency=definitions.currency,
        default_plan=default_plan,
        definitions=definitions,
        plans=plans,
        packs={name: pack for name, pack in packs.items() if pack is not None},
        routes=routes,
        links=plain.get("links", {}),
        statuses=statuses,
        plain=plain,
        sha256=_sha256(plain),
        inheritance=inheritance,
    )


_SECTIONS = ("features", "credits", "plans", "packs")


def _map(data: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    value = data.get(section)
    return {str(name): each for name, each in value.items()} if isinstance(value, Mapping) else {}


def _complete(said: Mapping[str, Any], data: Any, problems: Problems) -> dict[str, Any]:
    """Give every id that was written a value, so that one mistake does not make others unknown."""
    # Only in plans does nothing mean something: it takes an inherited value away.
    whole = {
        name: value if name == "plans" else without_nothing(value)
        for name, value in said.items()
        if value is not None
    }
    for section in _SECTIONS:
        written, read = _map(data, section), whole.get(section, {})
        for name, value in written.items():
            if value is None:
                problems.add(
                    (section, str(name)), "missing", "is empty; write {} if that is meant."
                )
        whole[section] = {name: read.get(name) or {} for name in written}
    return whole


def _definitions(said: Mapping[str, Any], data: Any, problems: Problems) -> Definitions:
    currency = said.get("currency")
    if currency is not None:
        check_currency(currency, ("currency",), problems.add)
    entities = tuple(said.get("entities", ()))
    check_entities(entities, problems)
    features = {
        name: read_feature(name, plain, problems) for name, plain in said["features"].items()
    }
    credits = {
        name: read_credits(name, plain, features, problems)
        for name, plain in said["credits"].items()
    }
    return Definitions(
        currency=currency or "USD",
        entities=entities,
        features=features,
        credits=credits,
        plans=tuple(_map(data, "plans")),
    )


def _plans(
    definitions: Definitions,
    inheritance: Inheritance,
    said: Mapping[str, Any],
    problems: Problems,
) -> dict[str, Plan]:
    reader = PlanReader(definitions, problems, inheritance.place)
    parents_first = sorted(said, key=lambda plan: len(inheritance.chain(plan)))
    plans = {
        plan: read_plan(plan, inheritance.resolved(plan), ("plans", plan), reader)
        for plan in parents_first
    }
    return {plan: plans[plan] for plan in said}


def _default_plan(
    said: Mapping[str, Any],
    definitions: Definitions,
    plans: Mapping[str, Plan],
    problems: Problems,
) -> str | None:
    plan: str | None = said.get("default_plan")
    if plan is None:
        return None
    if plan not in plans:
        problems.unknown(("default_plan",), "unknown_plan", "plan", plan, definitions.plans)
    elif plans[plan].addon:
        problems.add(("default_plan",), "not_for_addons", f"{plan} is an add-on, not a plan.")
    return plan


def _normalised(said: Mapping[str, Any], plans: Mapping[str, Plan]) -> dict[str, Any]:
    whole = {name: value for name, value in said.items() if value or name == "features"}
    whole["plans"] = {name: plan.plain for name, plan in plans.items()}
    return {name: whole[name] for name in CATALOG.fields if name in whole}


def _sha256(plain: Mapping[str, Any]) -> str:
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(canonical.encode()).hexdigest()


def _overridden(definitions: Definitions, plan: Plan, said: Mapping[str, Any]) -> Plan:
    problems = Problems()
    reader = PlanReader(definitions, problems, lambda path: path)
    merged = without_nothing(merge(plan.plain, said))
    overridden = read_plan(plan.id, merged, ("overrides",), reader)
    problems.raise_if_any()
    return overridden
