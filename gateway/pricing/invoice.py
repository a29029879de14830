"""Invoices: what a customer owes for a billing period, from the numbers that decided.

A base price is owed in advance: the invoice that closes a period carries the base line of the next one, and
the invoice at the start of a subscription, of a period without length, carries the first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any, Literal

from gateway.pricing.money import format_decimal, format_quantity, round_amount
from gateway.pricing.price import Price
from gateway.pricing.rating import ChargeLine, rate
from gateway.pricing.segment import SegmentUsage, UsageNotRated, check_rated
from gateway.pricing.window import Window, format_instant

Kind = Literal["base", "usage", "late", "standing"]
Status = Literal["upcoming", "draft", "finalized", "void"]

__all__ = [
    "BaseCharge",
    "Invoice",
    "InvoiceLine",
    "SegmentUsage",
    "Tax",
    "UsageNotRated",
    "invoice",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseCharge:
    """The plan's own price for the period it pays for, on the subscription's quantity."""

    plan: str
    name: str
    price: Price
    quantity: int
    period: Window
    catalog: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tax:
    """What is added to (or, inclusive, contained in) the sum of the lines; `percent` is not negative."""

    name: str
    percent: Decimal
    inclusive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One thing that is owed: `exact`, and `amount`, which is the one rounding there is."""

    kind: Kind
    feature: str | None
    description: str
    quantity: int | str
    amount: Decimal
    exact: Fraction
    tiers: tuple[ChargeLine, ...]
    period: Window
    catalog: int
    details: tuple[tuple[str, Any], ...] = ()
    """Further fields of this kind of line, as they are shown."""

    def to_plain(self) -> dict[str, Any]:
        """The line in the shape of the HTTP contract."""
        return {
            "kind": self.kind,
            "feature": self.feature,
            "description": self.description,
            "quantity": self.quantity,
            "amount": str(self.amount),
            "exact": format_decimal(self.exact),
            "tiers": [tier.to_plain() for tier in self.tiers],
            "period": _span_plain(self.period.start_ms, self.period.end_ms),
            "catalog": self.catalog,
            **dict(self.details),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """What one customer owes; every amount is rounded to the currency, and totals are sums of rounded lines."""

    id: str
    number: str | None
    status: Status
    customer: str
    currency: str
    start_ms: int
    end_ms: int
    lines: tuple[InvoiceLine, ...]
    subtotal: Decimal
    discount: Decimal
    credits_applied: Decimal
    tax: Decimal
    total: Decimal

    def to_plain(self) -> dict[str, Any]:
        """The invoice in the shape of the HTTP contract."""
        return {
            "id": self.id,
            "number": self.number,
            "status": self.status,
            "customer": self.customer,
            "currency": self.currency,
            "period": _span_plain(self.start_ms, self.end_ms),
            "lines": [line.to_plain() for line in self.lines],
            "subtotal": str(self.subtotal),
            "discount": str(self.discount),
            "creditsApplied": str(self.credits_applied),
            "tax": str(self.tax),
            "total": str(self.total),
        }


def invoice(
    *,
    id: str,
    customer: str,
    currency: str,
    start_ms: int,
    end_ms: int,
    base: BaseCharge | None,
    usage: Sequence[SegmentUsage],
    tax: Tax | None = None,
    status: Status = "draft",
    number: str | None = None,
) -> Invoice:
    """The invoice that closes `[start_ms, end_ms)`; the two are equal on the first one of a subscription.

    `base` is what is owed in advance at its end: None where that is not the start of an interval, or nothing
    follows. Usage of another period becomes late lines. Raises UsageNotRated when recorded costs do not
    agree with the price.
    """
    lines = [] if base is None else _base_lines(base, currency)
    ordered = sorted(usage, key=lambda each: (each.feature, each.period.start_ms, each.segment))
    for _, segments in groupby(ordered, key=lambda each: (each.feature, each.period.start_ms)):
        lines += _feature_lines(list(segments), start_ms, currency)
    nothing = round_amount(Fraction(0), currency)
    subtotal = sum((line.amount for line in lines), nothing)
    tax_amount, total = _taxed(subtotal, tax, currency)
    return Invoice(
        id=id,
        number=number,
        status=status,
        customer=customer,
        currency=currency,
        start_ms=start_ms,
        end_ms=end_ms,
        lines=tuple(lines),
        subtotal=subtotal,
        discount=nothing,
        credits_applied=nothing,
        tax=tax_amount,
        total=total,
    )


def _base_lines(base: BaseCharge, currency: str) -> list[InvoiceLine]:
    charges = rate(base.price, base.quantity, currency=currency)
    if charges.exact == 0:
        return []
    times = f" × {base.quantity}" if base.quantity != 1 else ""
    return [
        InvoiceLine(
            kind="base",
            feature=None,
            description=f"{base.name}{times}",
            quantity=base.quantity,
            amount=charges.amount,
            exact=charges.exact,
            tiers=charges.lines,
            period=base.period,
            catalog=base.catalog,
            details=(("plan", base.plan),),
        )
    ]


def _feature_lines(
    segments: list[SegmentUsage], start_ms: int, currency: str
) -> Iterable[InvoiceLine]:
    """The lines of one feature and billing period: one per segment, and what is owed without usage."""
    for number, segment in enumerate(segments):
        tiers = check_rated(segment, currency)
        if segment.quantity or segment.cost_nano:
            yield _usage_line(segment, tiers, start_ms, currency, again=number > 0)
    last = segments[-1]
    unused = not any(segment.overage or segment.billed_overage for segment in segments)
    if unused and not _is_late(last, start_ms) and last.price is not None:
        standing = rate(last.price, 0, currency=currency, events=_no_events(last.price))
        if standing.exact:
            yield InvoiceLine(
                kind="standing",
                feature=last.feature,
                description=f"{last.name}, owed without usage",
                quantity=format_quantity(0, last.scale),
                amount=standing.amount,
                exact=standing.exact,
                tiers=standing.lines,
                period=last.period,
                catalog=last.catalog,
            )


def _is_late(usage: SegmentUsage, start_ms: int) -> bool:
    """Whether its period was over before the one that is billed began."""
    return usage.period.end_ms <= start_ms


def _no_events(price: Price) -> int | None:
    return 0 if price.model == "percentage" else None


def _usage_line(
    usage: SegmentUsage, tiers: tuple[ChargeLine, ...], start_ms: int, currency: str, *, again: bool
) -> InvoiceLine:
    late = _is_late(usage, start_ms)
    description = usage.name
    if late:
        description += ", used earlier and reported late"
    if again:
        description += ", after a change of price (its tiers start at zero)"
    return InvoiceLine(
        kind="late" if late else "usage",
        feature=usage.feature,
        description=description,
        quantity=format_quantity(usage.quantity, usage.scale),
        amount=round_amount(usage.cost, currency),
        exact=usage.cost,
        tiers=tiers,
        period=usage.period,
        catalog=usage.catalog,
        details=(
            ("unit", usage.unit),
            ("included", format_quantity(usage.included, usage.scale)),
            ("overage", format_quantity(usage.overage, usage.scale)),
            ("segment", usage.segment),
        ),
    )


def _taxed(subtotal: Decimal, tax: Tax | None, currency: str) -> tuple[Decimal, Decimal]:
    """The tax on a sum, and the total: an inclusive tax is a part of the sum, another is added to it."""
    percent = Fraction(0) if tax is None else Fraction(tax.percent)
    if tax is not None and tax.inclusive:
        return round_amount(Fraction(subtotal) * percent / (100 + percent), currency), subtotal
    amount = round_amount(Fraction(subtotal) * percent / 100, currency)
    return amount, subtotal + amount


def _span_plain(start_ms: int, end_ms: int) -> dict[str, str]:
    return {"start": format_instant(start_ms), "end": format_instant(end_ms)}
