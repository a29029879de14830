"""Reads the parts of a catalog beside its plans, and checks what they say of each other."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from gateway.pricing.catalog_kinds import ID
from gateway.pricing.catalog_problem import Path, Problems
from gateway.pricing.feature import CreditSystem, Definitions, Feature, Pack, spoken
from gateway.pricing.plan_reading import base_units, check_currency
from gateway.pricing.routes import Route
from gateway.pricing.window import Span

DENIALS = (
    "limit_reached",
    "allowance_exhausted",
    "credits_exhausted",
    "spend_cap_reached",
    "overage_cap_reached",
    "feature_not_in_plan",
    "customer_suspended",
    "subscription_ended",
    "customer_unknown",
    "feature_unknown",
)
"""Reasons whose HTTP status a catalog may choose; an outage is always 503."""
STATUS_MIN, STATUS_MAX = 400, 499
"""A denial is the client's to understand: never a server error, never a success."""


def read_feature(feature: str, plain: Mapping[str, Any], problems: Problems) -> Feature:
    """One feature; its weights must come out in whole base units."""
    path: Path = ("features", feature)
    kind, scale = plain.get("type", "metered"), int(plain.get("scale", "0"))
    for word in ("scale", "weights"):
        if kind == "boolean" and word in plain:
            message = "means nothing for a boolean feature, which has no quantity."
            problems.add((*path, word), "not_for_this_type", message, at_name=True)
    weights = plain.get("weights", {})
    for variant, kinds in weights.items():
        if not kinds:
            problems.add((*path, "weights", variant), "missing", "needs the weight of each kind.")
        for name, weight in (kinds or {}).items():
            base_units(weight, scale, (*path, "weights", variant, name), problems.add)
    return Feature(
        id=feature,
        name=plain.get("name", spoken(feature)),
        unit=plain.get("unit", "unit"),
        type=kind,
        scale=scale,
        weights=weights,
    )


def read_credits(
    system: str, plain: Mapping[str, Any], features: Mapping[str, Feature], problems: Problems
) -> CreditSystem:
    """One credit system; every cost must come out in whole base units of it."""
    path: Path = ("credits", system)
    scale = int(plain.get("scale", "0"))
    if system in features:
        message = f"{system} is already the id of a feature."
        problems.add(path, "id_taken", message, at_name=True)
    costs = plain.get("costs", {})
    for feature, cost in costs.items():
        here = (*path, "costs", feature)
        if feature not in features:
            problems.unknown(here, "unknown_feature", "feature", feature, features)
        elif features[feature].type == "boolean":
            problems.add(here, "not_for_this_type", f"{feature} is boolean: it uses nothing up.")
        else:
            base_units(cost, scale, here, problems.add)
    name = plain.get("name", spoken(system))
    return CreditSystem(id=system, name=name, scale=scale, costs=costs)


def read_pack(
    pack: str, plain: Mapping[str, Any], definitions: Definitions, problems: Problems
) -> Pack | None:
    """One pack; None once a part without which it is nothing is reported."""
    path: Path = ("packs", pack)
    credits = plain.get("credits")
    if credits is not None and credits not in definitions.credits:
        known = definitions.credits
        problems.unknown((*path, "credits"), "unknown_credits", "credit system", credits, known)
    currency = plain.get("currency", definitions.currency)
    check_currency(currency, (*path, "currency"), problems.add)
    expires = Span.parse(plain.get("expires", "never"))
    if expires.unit == "period":
        problems.add((*path, "expires"), "bad_span", "must be a span such as 12 months, or never.")
    if credits is None or credits not in definitions.credits:
        return None
    if "quantity" not in plain or "price" not in plain:
        return None
    scale = definitions.credits[credits].scale
    quantity = base_units(plain["quantity"], scale, (*path, "quantity"), problems.add)
    return Pack(
        id=pack,
        name=plain.get("name", spoken(pack)),
        credits=credits,
        quantity=quantity,
        price=plain["price"],
        currency=currency,
        expires=expires,
    )


def read_routes(
    plain: Sequence[Mapping[str, Any]], features: Mapping[str, Feature], problems: Problems
) -> tuple[Route, ...]:
    """The routes, each of which some request can reach, the last for everything else."""
    routes, seen = [], set()
    for place, said in enumerate(plain):
        path: Path = ("routes", place)
        match = said.get("match")
        if match is None:
            continue
        if match in seen:
            problems.add((*path, "match"), "route_unreachable",
                         f"{match!r} stands further up, and the first match wins.")  # fmt: skip
        elif match == "*" and place != len(plain) - 1:
            problems.add((*path, "match"), "route_unreachable",
                         "'*' matches everything, so what follows is never reached; put it last.")  # fmt: skip
        seen.add(match)
        routes.append(_read_route(match, said, path, features, problems))
    last = plain[-1].get("match") if plain else "*"
    if last is not None and last != "*":
        problems.add(("routes", len(plain) - 1, "match"), "last_route",
                     f"the last route must match '*', so that no request is forgotten, not {last!r}.",
                     '{match: "*", free: true}')  # fmt: skip
    return tuple(routes)


def _read_route(
    match: str,
    said: Mapping[str, Any],
    path: Path,
    features: Mapping[str, Feature],
    problems: Problems,
) -> Route:
    free, name = said.get("free", False), said.get("feature")
    feature = features.get(name) if name is not None else None
    if free:
        for word in ("feature", "cost", "hold", "capture"):
            if word in said:
                problems.add((*path, word), "free_route", "a free route counts nothing.",
                             at_name=True)  # fmt: skip
        return Route(match=match, free=True)
    if name is None and not problems.at((*path, "feature")):
        if not problems.misspelt(path, "feature") and not problems.misspelt(path, "free"):
            problems.add(path, "missing", "needs a feature, or free: true.")
    elif name is not None and feature is None:
        problems.unknown((*path, "feature"), "unknown_feature", "feature", name, features)
    _check_words(said, feature, path, problems)
    scale = feature.scale if feature is not None else 0
    counted = feature is not None and feature.type != "boolean" and "hold" not in said
    cost = base_units(said.get("cost", "1"), scale, (*path, "cost"), problems.add)
    hold = base_units(said.get("hold", "0"), scale, (*path, "hold"), problems.add)
    return Route(
        match=match,
        feature=name,
        cost=cost if counted else None,
        hold=hold if "hold" in said else None,
        capture=said.get("capture"),
    )


def _check_words(
    said: Mapping[str, Any], feature: Feature | None, path: Path, problems: Problems
) -> None:
    """Words of a route that exclude or need each other."""
    if feature is not None and feature.type == "boolean":
        for word in ("cost", "hold", "capture"):
            if word in said:
                message = f"{feature.id} is boolean: a request uses nothing of it up."
                problems.add((*path, word), "not_for_this_type", message, at_name=True)
    if "cost" in said and "hold" in said:
        message = "cost is known beforehand, hold is not: write one of them."
        problems.add((*path, "cost"), "cost_or_hold", message, at_name=True)
    if ("hold" in said) != ("capture" in said):
        message = "hold and capture belong together: one holds, the other tells what was used."
        word = "hold" if "hold" in said else "capture"
        problems.add((*path, word), "hold_and_capture", message, at_name=True)
    capture = said.get("capture")
    if capture is not None and ("usage" in capture) == ("quantity" in capture):
        problems.add((*path, "capture"), "hold_and_capture", "needs either usage or quantity.")
    if capture is not None and "usage" in capture and feature is not None and not feature.weights:
        message = f"{feature.id} has no weights to make a quantity of usage."
        problems.add((*path, "capture", "usage"), "weights_missing", message)


def read_statuses(plain: Mapping[str, Any], problems: Problems) -> dict[str, int]:
    """HTTP statuses by reason."""
    statuses = {}
    for reason, status in plain.items():
        here = ("statuses", reason)
        if reason not in DENIALS:
            problems.unknown(here, "unknown_reason", "reason of a denial", reason, DENIALS)
        elif not STATUS_MIN <= Fraction(status) <= STATUS_MAX:
            message = f"must be a status from {STATUS_MIN} to {STATUS_MAX}, not {status}."
            problems.add(here, "bad_status", message)
        else:
            statuses[reason] = int(status)
    return statuses


def check_entities(entities: Sequence[str], problems: Problems) -> None:
    """Entities are ids, each once."""
    for place, entity in enumerate(entities):
        if not ID.fullmatch(entity):
            message = f"{entity!r} is not an id: small letters, digits and _, a letter first."
            problems.add(("entities", place), "bad_id", message)
        elif entity in entities[:place]:
            problems.add(("entities", place), "id_taken", f"{entity} stands here twice.")
