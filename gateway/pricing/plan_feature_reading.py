"""Reads what a plan says of one feature, and says everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.pricing.catalog_problem import Path
from gateway.pricing.compiled import PriceNotEnforceable, compile_price
from gateway.pricing.entitlement import Limit
from gateway.pricing.feature import CreditSystem, Feature
from gateway.pricing.plan import PlanFeature, default_align
from gateway.pricing.price import Price
from gateway.pricing.window import Align, Span, align_problem

if TYPE_CHECKING:
    from gateway.pricing.plan_reading import PlanReader

_NOT_FOR = {
    "metered": ("bill",),
    "allocated": ("reset", "align", "rollover", "credits"),
    "credits": (
        "limits", "overage", "price", "overage_cap", "credits", "on_outage", "require",
        "enforce", "bill",
    ),
}  # fmt: skip
"""Words of the grammar that mean nothing for a feature of this type."""
_UNPRICED = ("percentage", "graduated_percentage")


def read_plan_feature(name: str, said: Any, path: Path, reader: PlanReader) -> PlanFeature | None:
    """The feature in the plan; None when it is off, or when its problem is reported."""
    defined = reader.definitions
    feature: Feature | CreditSystem = defined.features.get(name) or defined.credits[name]
    kind = feature.type if isinstance(feature, Feature) else "credits"
    if isinstance(said, bool) != (kind == "boolean"):
        _report_wrong_shape(name, said, kind, path, reader)
        return None
    if kind == "boolean":
        return PlanFeature(feature=name, type="boolean", included=None) if said else None
    for word in said:
        if word in _NOT_FOR[kind]:
            reader.report((*path, word), "not_for_this_type",
                          f"{word!r} means nothing for {name}, which is {kind}.",
                          at_name=True)  # fmt: skip
    return _Reading(feature, kind, said, path, reader).feature()


def _report_wrong_shape(name: str, said: Any, kind: str, path: Path, reader: PlanReader) -> None:
    if kind == "boolean":
        reader.report(path, "wrong_type", f"{name} is boolean: it is true or false.", "true")
    elif said:
        reader.report(path, "wrong_type", f"{name} is {kind}: say how much is included.",
                      "{included: unlimited}")  # fmt: skip
    else:
        reader.report(path, "wrong_type", f"{name} is {kind}: leave it out, or write null to take"
                      " an inherited one away.", "null")  # fmt: skip


class _Reading:
    """One metered or allocated feature, or a credit system, in one plan."""

    def __init__(
        self,
        feature: Feature | CreditSystem,
        kind: Any,
        said: Mapping[str, Any],
        path: Path,
        reader: PlanReader,
    ) -> None:
        self._id, self._scale, self._kind = feature.id, feature.scale, kind
        self._said, self._path, self._reader = said, path, reader

    def feature(self) -> PlanFeature:
        said = self._said
        included, each = self._included()
        reset = Span.parse(said.get("reset", "never" if self._kind == "allocated" else "period"))
        on_outage = said.get("on_outage", "bounded")
        self._check_unbuilt_quantities()
        self._check_credits()
        for place, entity in enumerate(said.get("require", ())):
            self._check_entity(entity, (*self._path, "require", place))
        return PlanFeature(
            feature=self._id,
            type=self._kind,
            included=included,
            each=each,
            reset=reset,
            align=self._align(said, "reset", reset, self._path),
            limits=self._limits(),
            overage=said.get("overage", "block"),
            price=self._price(),
            enforce=said.get("enforce", True),
            on_outage=on_outage if isinstance(on_outage, str) else "bounded",
        )

    def _included(self) -> tuple[int | None, bool]:
        included = self._said.get("included", "0")
        where = (*self._path, "included")
        if included == "unlimited":
            return None, False
        if isinstance(included, Mapping):
            each = included.get("each", "0")
            return self._reader.quantity(each, self._scale, (*where, "each")), True
        return self._reader.quantity(included, self._scale, where), False

    def _align(self, said: Mapping[str, Any], length: str, span: Span, path: Path) -> Align:
        align: Align = said.get("align", default_align(span))
        problem = align_problem(span, align)
        if problem is not None:
            explicit = "align" in said
            hint = "" if explicit or align != "calendar" else "; or write align: anchor"
            where = (*path, "align" if explicit else length)
            self._reader.report(where, "span_does_not_fit", f"{problem}{hint}.")
        return align

    def _limits(self) -> tuple[Limit, ...]:
        limits = []
        for place, said in enumerate(self._said.get("limits", ())):
            limit = self._limit(said, (*self._path, "limits", place))
            if limit is not None:
                limits.append(limit)
        return tuple(limits)

    def _limit(self, said: Mapping[str, Any], path: Path) -> Limit | None:
        """A limit in fixed windows; the other ones are checked and left out."""
        most = self._reader.quantity(said.get("max", "0"), self._scale, (*path, "max"))
        if "per" in said:
            self._check_entity(said["per"], (*path, "per"))
        if said.get("concurrent", False):
            for word in ("every", "align", "sliding"):
                if said.get(word, False):
                    self._reader.report((*path, word), "not_for_concurrent",
                                        f"{word!r} means nothing where open holds are counted.",
                                        at_name=True)  # fmt: skip
            return None
        if "every" not in said:
            self._reader.missing(path, "every", "needs every: the length of its window.")
            return None
        span = Span.parse(said["every"])
        if said.get("sliding", False):
            self._check_sliding(said, span, path)
            return None
        align = self._align(said, "every", span, path)
        if "per" in said:
            return None
        name = said.get("name", f"{self._id}.{str(span).replace(' ', '_')}")
        return Limit(name=name, max=most, span=span, align=align, enforce=said.get("enforce", True))

    def _check_sliding(self, said: Mapping[str, Any], span: Span, path: Path) -> None:
        if "align" in said:
            self._reader.report((*path, "align"), "not_for_sliding",
                                "a sliding window ends now; it is not aligned.",
                                at_name=True)  # fmt: skip
        try:
            _ = span.length_ms
        except ValueError as error:
            self._reader.report((*path, "every"), "span_does_not_fit",
                                f"{error}, which a sliding window needs; use days.")  # fmt: skip

    def _price(self) -> Price | None:
        """The price of overage, which also must be exact in the script that charges it."""
        said, where = self._said, (*self._path, "price")
        overage = said.get("overage", "block")
        price = self._reader.price(said["price"], where) if "price" in said else None
        if overage == "charge" and "price" not in said:
            self._reader.missing(self._path, "price", "overage: charge needs a price.")
        elif price is not None and "overage" not in said:
            self._reader.report(where, "price_unused", "is only owed with overage: charge, and"
                                " overage is block by default.", "overage: charge",
                                at_name=True)  # fmt: skip
        if price is None or overage != "charge" or price.model in _UNPRICED:
            return price if overage == "charge" else None
        try:
            compile_price(price, self._scale)
        except PriceNotEnforceable as error:
            self._reader.report(where, "price_not_enforceable", f"{error}.", at_name=True)
        return price

    def _check_unbuilt_quantities(self) -> None:
        """Numbers of parts that have no field of their own yet."""
        for part, word in (
            ("rollover", "max"),
            ("overage_cap", "quantity"),
            ("on_outage", "bounded"),
        ):
            value = self._said.get(part)
            if isinstance(value, Mapping) and word in value:
                self._reader.quantity(value[word], self._scale, (*self._path, part, word))
        cap = self._said.get("overage_cap")
        if cap is not None and not cap:
            self._reader.missing((*self._path, "overage_cap"), "quantity",
                                 "needs a quantity, an amount, or both.")  # fmt: skip
        if cap is not None and "overage" not in self._said:
            self._reader.report((*self._path, "overage_cap"), "cap_unused",
                                "there is no overage to cap: overage is block by default.",
                                at_name=True)  # fmt: skip

    def _check_credits(self) -> None:
        if "credits" not in self._said:
            return
        credits, where = self._said["credits"], (*self._path, "credits")
        systems = self._reader.definitions.credits
        if credits not in systems:
            self._reader.unknown(where, "unknown_credits", "credit system", credits, systems)
        elif self._id not in systems[credits].costs:
            self._reader.report(where, "cost_missing",
                                f"{credits} does not say what {self._id} costs; add it to"
                                f" credits.{credits}.costs.")  # fmt: skip

    def _check_entity(self, entity: str, path: Path) -> None:
        entities = self._reader.definitions.entities
        if entity not in entities:
            self._reader.unknown(path, "unknown_entity", "entity", entity, entities)
