"""What a replay found: allowed, denied and billed, in all and for each customer."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any

from deploy.replay.formats import Row

EXACT = Context(prec=60)
"""Sums of quantities and amounts are exact up to sixty digits."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """The running counts of one customer, or of all of them."""

    allowed: int = 0
    denied: int = 0
    asked_quantity: Decimal = Decimal(0)
    allowed_quantity: Decimal = Decimal(0)
    reasons: Counter[str] = field(default_factory=Counter)
    cost: dict[str, Decimal] = field(default_factory=dict)
    """Exact amounts of usage by currency, before the one rounding on an invoice line."""

    @property
    def denied_quantity(self) -> Decimal:
        """What was asked for and not allowed."""
        return EXACT.subtract(self.asked_quantity, self.allowed_quantity)

    def count(self, row: Row, decision: Mapping[str, Any]) -> None:
        """Add one decision as the gateway answered it."""
        quantity = Decimal(row.quantity)
        self.asked_quantity = EXACT.add(self.asked_quantity, quantity)
        self.reasons[decision["reason"]] += 1
        if not decision["allowed"]:
            self.denied += 1
            return
        self.allowed += 1
        self.allowed_quantity = EXACT.add(self.allowed_quantity, quantity)
        currency = decision.get("currency") or ""
        before = self.cost.get(currency, Decimal(0))
        self.cost[currency] = EXACT.add(before, Decimal(decision["cost"]))

    def to_plain(self) -> dict[str, Any]:
        """Counts as integers, quantities and amounts as decimal strings."""
        return {
            "allowed": self.allowed,
            "denied": self.denied,
            "reasons": dict(sorted(self.reasons.items())),
            "quantity": {
                "asked": plain(self.asked_quantity),
                "allowed": plain(self.allowed_quantity),
            },
            "usageCost": {currency: plain(cost) for currency, cost in sorted(self.cost.items())},
        }


@dataclass(slots=True, kw_only=True)
class Report:
    """Everything a replay says at its end."""

    rows: int
    unreadable: int
    out_of_order: int
    customer_rule: str
    customers_created: int = 0
    first_ms: int
    last_ms: int
    moved_years: int | None = None
    """How far recorded times were moved ahead; None when they were not kept."""
    clock_step: str | None = None
    late: int = 0
    """Requests answered after the step of the clock they belong to had ended."""
    took_ms: int = 0
    total: Tally = field(default_factory=Tally)
    by_customer: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    invoiced: dict[str, Decimal] = field(default_factory=dict)
    """Totals of the customers' invoices by currency: the running billing period and those issued meanwhile."""

    def count(self, row: Row, decision: Mapping[str, Any]) -> None:
        """Add one decision, in all and for its customer."""
        self.total.count(row, decision)
        self.by_customer[row.customer].count(row, decision)

    def bill(self, invoice: Mapping[str, Any]) -> None:
        """Add one invoice."""
        before = self.invoiced.get(invoice["currency"], Decimal(0))
        self.invoiced[invoice["currency"]] = EXACT.add(before, Decimal(invoice["total"]))

    def to_plain(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "rows": self.rows,
            "unreadable": self.unreadable,
            "outOfOrder": self.out_of_order,
            "recorded": {"from": rfc3339(self.first_ms), "to": rfc3339(self.last_ms)},
            "movedYears": self.moved_years,
            "clockStep": self.clock_step,
            "late": self.late,
            "tookMs": self.took_ms,
            "customerRule": self.customer_rule,
            "customers": {"seen": len(self.by_customer), "created": self.customers_created},
            **self.total.to_plain(),
            "invoiced": {name: plain(total) for name, total in sorted(self.invoiced.items())},
            "byCustomer": {name: tally.to_plain() for name, tally in self.by_customer.items()},
        }


def plain(number: Decimal) -> str:
    """A decimal without an exponent."""
    return format(number, "f")


def rfc3339(at_ms: int) -> str:
    """UTC with Z, to the second."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
