"""What a new catalog changes, in words a person can check before it is pushed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gateway.pricing.catalog import Catalog
from gateway.pricing.catalog_problem import Path, dotted
from gateway.pricing.plan import Plan, PlanFeature
from gateway.pricing.window import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two catalogs; `before` or `after` is None where there is nothing."""

    path: Path
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None

    @property
    def plan(self) -> str | None:
        """The plan whose customers it touches, or None."""
        return str(self.path[1]) if self.path[0] == "plans" else None

    def __str__(self) -> str:
        where = dotted(self.path)
        if self.kind == "added":
            return f"+ {where}: {_shown(self.after)}"
        if self.kind == "removed":
            return f"- {where}: {_shown(self.before)}"
        return f"~ {where}: {_shown(self.before)} → {_shown(self.after)}"

    def to_plain(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "path": dotted(self.path),
            "kind": self.kind,
            "before": self.before,
            "after": self.after,
            "plan": self.plan,
        }


def diff_catalogs(old: Catalog, new: Catalog) -> list[Change]:
    """Every difference in what the two mean, in the order of the new one, removals last.

    A default that is written out is no difference. Whole features and plans that come or go are one change.
    """
    return list(_changes(_meaning(old), _meaning(new), ()))


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> Iterator[Change]:
    for name, after in new.items():
        here = (*path, name)
        before = old.get(name)
        if before is None:
            yield Change(path=here, kind="added", after=after)
        elif isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _changes(before, after, here)
        elif before != after:
            yield Change(path=here, kind="changed", before=before, after=after)
    for name, before in old.items():
        if name not in new:
            yield Change(path=(*path, name), kind="removed", before=before)


def _meaning(catalog: Catalog) -> dict[str, Any]:
    """The normalised form with defaults written out."""
    plain = catalog.to_plain()
    plain["features"] = {
        name: {**said, "name": catalog.features[name].name, "unit": catalog.features[name].unit,
               "type": catalog.features[name].type, "scale": str(catalog.features[name].scale)}
        for name, said in plain["features"].items()
    }  # fmt: skip
    plain["plans"] = {name: _plan(plan) for name, plan in catalog.plans.items()}
    for section in ("credits", "packs", "links", "statuses"):
        plain.setdefault(section, {})
    plain.setdefault("routes", [])
    return plain


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        **plan.plain,
        "name": plan.name,
        "currency": plan.currency,
        "price": plan.price.to_plain(),
        "interval": str(plan.interval),
        "usage_interval": str(plan.usage_interval),
        "features": {
            name: _feature(said, plan.features.get(name))
            for name, said in plan.plain.get("features", {}).items()
        },
    }


def _feature(said: Any, feature: PlanFeature | None) -> Any:
    if feature is None or isinstance(said, bool):
        return said
    price = {} if feature.price is None else {"price": feature.price.to_plain()}
    return {
        **{name: value for name, value in said.items() if name != "price"},
        "included": said.get("included", "0"),
        "reset": str(feature.reset),
        "align": feature.align,
        "overage": feature.overage,
        "enforce": feature.enforce,
        "on_outage": said.get("on_outage", "bounded"),
        "limits": {_limit_name(limit): limit for limit in said.get("limits", ())},
        **price,
    }


def _limit_name(limit: Mapping[str, Any]) -> str:
    if limit.get("concurrent"):
        span = "concurrent"
    else:
        span = str(Span.parse(limit["every"])) + (" sliding" if limit.get("sliding") else "")
    per = f" per {limit['per']}" if "per" in limit else ""
    return str(limit.get("name", span + per))


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_shown(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_shown(each) for each in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
