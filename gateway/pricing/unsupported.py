"""What the catalog's grammar has and this release cannot do yet: refused by name, never ignored.

Whoever builds one of these deletes its lines here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.pricing.catalog import Catalog
from gateway.pricing.catalog_problem import CatalogInvalid, CatalogProblem, Path, Problems

CODE = "not_supported_yet"

_IN_CATALOG = ("default_plan", "entities", "credits", "packs")
_IN_PLAN = ("addon", "trial", "spend_cap", "alerts", "minimum", "maximum", "discount")
_IN_FEATURE = ("rollover", "overage_cap", "credits", "alerts", "require", "bill")
_IN_LIMIT = ("per", "sliding", "concurrent")
_IN_ROUTE = ("hold", "capture")
_PERCENTAGES = ("percentage", "graduated_percentage")


def unsupported(catalog: Catalog) -> list[CatalogProblem]:
    """A problem `not_supported_yet` for each part of the catalog that cannot be enforced and billed yet."""
    problems = Problems()
    found: list[tuple[Path, str]] = [
        ((name,), name) for name in _IN_CATALOG if name in catalog.plain
    ]
    for name, feature in catalog.features.items():
        if feature.type == "allocated":
            found.append((("features", name, "type"), "allocated features"))
    for place, route in enumerate(catalog.plain.get("routes", ())):
        found += [(("routes", place, name), name) for name in _IN_ROUTE if name in route]
    for name, plan in catalog.plans.items():
        found += _in_plan(plan.plain, ("plans", name))
    for path, what in found:
        _add(problems, catalog.inheritance.place(path), what)
    return problems.found


def refuse_unsupported(catalog: Catalog) -> None:
    """Raises CatalogInvalid when a part of the catalog is not built yet."""
    if problems := unsupported(catalog):
        raise CatalogInvalid(problems)


def refuse_unsupported_overrides(overrides: Mapping[str, Any]) -> None:
    """Raises CatalogInvalid when overrides ask for something that is not built yet."""
    problems = Problems()
    for path, what in _in_plan(overrides, ("overrides",)):
        _add(problems, path, what)
    problems.raise_if_any()


def _add(problems: Problems, path: Path, what: str) -> None:
    message = f"{what}: not supported yet by this release; take it out."
    problems.add(path, CODE, message, at_name=True)


def _in_plan(plan: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, str]]:
    yield from _names(plan, _IN_PLAN, path)
    yield from _percentages(plan.get("price"), (*path, "price"))
    for name, said in (plan.get("features") or {}).items():
        if isinstance(said, Mapping):
            yield from _in_feature(said, (*path, "features", name))


def _in_feature(said: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, str]]:
    yield from _names(said, _IN_FEATURE, path)
    yield from _percentages(said.get("price"), (*path, "price"))
    outage = said.get("on_outage")
    if outage == "open" or isinstance(outage, Mapping):
        yield (*path, "on_outage"), "on_outage other than closed"
    for place, limit in enumerate(said.get("limits") or ()):
        yield from _names(limit, _IN_LIMIT, (*path, "limits", place))


def _names(
    plain: Mapping[str, Any], names: tuple[str, ...], path: Path
) -> Iterator[tuple[Path, str]]:
    """Those that are given; false and nothing are not."""
    for name in names:
        if plain.get(name) not in (None, False):
            yield (*path, name), name


def _percentages(price: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(price, Mapping) and price.get("model") in _PERCENTAGES:
        yield (*path, "model"), f"{price['model']} prices"
