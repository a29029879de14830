"""Small catalogs for tests, and the problems that others have."""

from typing import Any

import pytest

from gateway.pricing.catalog import CatalogInvalid, CatalogProblem, load_catalog

API = ("plans", "p", "features", "api")
PRICE = {"model": "per_unit", "unit": "0.1"}


def whole(**changes: Any) -> dict[str, Any]:
    """A catalog with one feature of each type, a plan, credits and entities, changed as told."""
    return {
        "currency": "USD",
        "entities": ["team", "user"],
        "features": {
            "api": {},
            "ai": {"scale": "2", "weights": {"*": {"input": "0.5"}}},
            "seats": {"type": "allocated"},
            "sso": {"type": "boolean"},
        },
        "credits": {"coins": {"costs": {"ai": "1"}}},
        "plans": {"p": {}, "plus": {"addon": True}},
        **changes,
    }


def problems_of(data: Any) -> list[CatalogProblem]:
    with pytest.raises(CatalogInvalid) as refused:
        load_catalog(data)
    return list(refused.value.problems)


def only(data: Any) -> tuple[Any, ...]:
    """The path, code and suggestion of the one problem there is."""
    (problem,) = problems_of(data)
    return problem.path, problem.code, problem.suggestion


def in_plan(**said: Any) -> dict[str, Any]:
    return whole(plans={"p": said})


def in_api(**said: Any) -> dict[str, Any]:
    return in_plan(features={"api": said})


def charged(**price: Any) -> dict[str, Any]:
    return in_api(overage="charge", price=price)
