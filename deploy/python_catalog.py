"""A catalog written in Python: the file is run with the names of `gateway.pricing.building` at hand."""

import runpy
from functools import wraps
from pathlib import Path
from typing import Any

from gateway.pricing import building
from gateway.pricing.catalog import Catalog
from gateway.pricing.unsupported import refuse_unsupported

NAMES = ("metered", "boolean", "allocated", "credits", "plan", "pack", "catalog")


def run_catalog(path: Path) -> Catalog:
    """The catalog that a Python file makes: by one call of `catalog`, or else all of its plans.

    Raises CatalogInvalid, ValueError when it makes none or several, and whatever the file itself raises.
    """
    plans: list[building.PlanForm] = []
    catalogs: list[Catalog] = []
    names: dict[str, Any] = {name: getattr(building, name) for name in NAMES}
    names["plan"] = _collecting(building.plan, plans)
    names["catalog"] = _collecting(building.catalog, catalogs)
    values = runpy.run_path(str(path), init_globals=names).values()
    plans += [each for each in values if isinstance(each, building.PlanForm) and each not in plans]
    catalogs += [each for each in values if isinstance(each, Catalog) and each not in catalogs]
    if len(catalogs) > 1:
        raise ValueError(f"{path} makes {len(catalogs)} catalogs; which one is meant?")
    if not catalogs and not plans:
        raise ValueError(f"{path} makes neither a catalog nor a plan")
    made = catalogs[0] if catalogs else building.catalog(*plans)
    refuse_unsupported(made)
    return made


def _collecting(build: Any, into: list[Any]) -> Any:
    @wraps(build)
    def built(*positional: Any, **named: Any) -> Any:
        into.append(build(*positional, **named))
        return into[-1]

    return built
