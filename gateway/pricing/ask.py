"""Ask: one feature of an entitlement at one instant, laid out for a decision."""

from dataclasses import dataclass
from typing import NamedTuple

from gateway.pricing.compiled import CompiledPrice, compile_price
from gateway.pricing.entitlement import Entitlement, FeatureEntitlement, Limit
from gateway.pricing.window import NEVER_ENDS_MS, Align, Span, Window, window_at

PERIOD = "period"
"""The name of the billing period's window; always the first of an Ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskWindow:
    """A counter that the decision reads and adds to.

    With `align: first_use` the state says when it ends; `length_ms` is then its length, else 0.
    """

    name: str
    span: Span
    end_ms: int
    length_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AskLimit:
    """A limit and the place of its window among the windows."""

    window: int
    limit: Limit


class Ceiling(NamedTuple):
    """A bound of the feature as the answer shows it: the included allowance first, then the limits."""

    name: str
    every: str
    max: int
    window: int
    reason: str
    """Why a request above it is denied."""
    enforce: bool
    paid: bool
    """Whether what is below it is paid for: the allowance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Everything a decision over one feature needs beside the state and the quantity.

    It holds for instants in [valid_from_ms, valid_until_ms).
    """

    entitlement: Entitlement
    feature: FeatureEntitlement
    windows: tuple[AskWindow, ...]
    limits: tuple[AskLimit, ...]
    ceilings: tuple[Ceiling, ...]
    included_window: int
    price: CompiledPrice | None
    price_id: str
    period_start_ms: int
    valid_from_ms: int
    valid_until_ms: int


def window_name(entitlement: Entitlement, span: Span, align: Align) -> str:
    """The name of a counter in the state: two windows cut alike share one."""
    if span.unit == PERIOD or (span == entitlement.period and align == "anchor"):
        return PERIOD
    return f"{span}.{align}"


def ask(entitlement: Entitlement, feature: FeatureEntitlement, at_ms: int) -> Ask:
    """Lay out a metered feature for decisions around `at_ms`, which the entitlement must cover."""
    spans: dict[str, tuple[Span, Align]] = {PERIOD: (Span(PERIOD), "anchor")}
    spans.setdefault(
        window_name(entitlement, feature.reset, feature.align), (feature.reset, feature.align)
    )
    for limit in feature.limits:
        name = window_name(entitlement, limit.span, limit.align)
        spans.setdefault(name, (limit.span, limit.align))
    places = {name: place for place, name in enumerate(spans)}

    windows = []
    valid_from_ms = entitlement.starts_ms
    valid_until_ms = _end_of(entitlement)
    period = _cut(entitlement, Span(PERIOD), "anchor", at_ms)
    for name, (span, align) in spans.items():
        if align == "first_use":
            windows.append(AskWindow(name=name, span=span, end_ms=0, length_ms=span.length_ms))
            continue
        cut = period if name == PERIOD else _cut(entitlement, span, align, at_ms)
        valid_from_ms = max(valid_from_ms, cut.start_ms)
        valid_until_ms = min(valid_until_ms, cut.end_ms)
        windows.append(AskWindow(name=name, span=span, end_ms=cut.end_ms, length_ms=0))

    limits = tuple(
        AskLimit(window=places[window_name(entitlement, limit.span, limit.align)], limit=limit)
        for limit in feature.limits
    )
    included_window = places[window_name(entitlement, feature.reset, feature.align)]
    price = feature.price if feature.overage == "charge" else None
    return Ask(
        entitlement=entitlement,
        feature=feature,
        windows=tuple(windows),
        limits=limits,
        ceilings=_ceilings(feature, included_window, limits),
        included_window=included_window,
        price=None if price is None else compile_price(price, feature.scale),
        price_id="-" if price is None else price.id,
        period_start_ms=period.start_ms,
        valid_from_ms=valid_from_ms,
        valid_until_ms=valid_until_ms,
    )


def _ceilings(
    feature: FeatureEntitlement, included_window: int, limits: tuple[AskLimit, ...]
) -> tuple[Ceiling, ...]:
    ceilings = []
    if feature.included is not None and (feature.included > 0 or feature.overage == "block"):
        ceilings.append(
            Ceiling(
                name=f"{feature.feature}.included",
                every=str(feature.reset),
                max=feature.included,
                window=included_window,
                reason="allowance_exhausted",
                enforce=feature.overage == "block",
                paid=True,
            )
        )
    for item in limits:
        limit = item.limit
        ceilings.append(
            Ceiling(
                name=limit.name,
                every=str(limit.span),
                max=limit.max,
                window=item.window,
                reason="limit_reached",
                enforce=limit.enforce,
                paid=False,
            )
        )
    return tuple(ceilings)


def _end_of(entitlement: Entitlement) -> int:
    ends = [NEVER_ENDS_MS]
    if entitlement.ends_ms is not None:
        ends.append(entitlement.ends_ms)
    if entitlement.next is not None:
        ends.append(entitlement.next.starts_ms)
    return min(ends)


def _cut(entitlement: Entitlement, span: Span, align: Align, at_ms: int) -> Window:
    return window_at(
        span,
        align,
        at_ms=at_ms,
        anchor_ms=entitlement.anchor_ms,
        zone=entitlement.zone,
        period=entitlement.period,
    )
