"""Recount: what the counters in Redis must say, from nothing but the ledger's rows.

The same steps as lua/lib/window.lua, taken again over recorded decisions. `verify` compares the outcome with Redis,
`rebuild` writes it where Redis forgot.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gateway.pricing.ask import Ask, ask
from gateway.pricing.compiled import amount_nano
from gateway.pricing.entitlement import Entitlement
from lua.state import SegmentState, UsageState, WindowState
from reconciler.entry import Row

ASKS_MAX = 10_000
"""Layouts kept: one for each version and feature, replaced when its windows have moved on."""

Documents = Callable[[str, int], Entitlement | None]
"""The entitlement of a customer by version; None when Postgres does not have it."""


class EntitlementMissing(Exception):
    """A row names an entitlement that Postgres does not have, or a feature that is not in it."""


@dataclass(slots=True, kw_only=True)
class _Window:
    used: int = 0
    from_ms: int = 0
    end_ms: int = 0


@dataclass(slots=True, kw_only=True)
class _Segment:
    segment: int
    price: str
    entitlement: int
    since_ms: int
    quantity: int = 0
    included: int = 0
    overage: int = 0
    beyond: int = 0
    cost: int = 0


@dataclass(slots=True, kw_only=True)
class _Counted:
    windows: dict[str, _Window] = field(default_factory=dict)
    segments: list[_Segment] = field(default_factory=list)
    period_start_ms: int = 0


class Recount:
    """Counts rows, given in the order of their bucket's log."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._asks: OrderedDict[tuple[str, int, str], Ask] = OrderedDict()
        self._counted: dict[tuple[str, str], _Counted] = {}

    def add(self, row: Row) -> None:
        """Count one row as the script did. Raises EntitlementMissing."""
        layout = self.layout(row)
        counted = self._counted.setdefault((row.customer, row.feature), _Counted())
        period_opened = False
        for place, window in enumerate(layout.windows):
            state = counted.windows.setdefault(window.name, _Window())
            end_ms = window.end_ms
            opened = state.end_ms <= row.at_ms or (place == 0 and state.end_ms != end_ms)
            if opened:
                state.used, state.from_ms = 0, row.at_ms
                state.end_ms = row.at_ms + window.length_ms if window.length_ms else end_ms
            elif not window.length_ms:
                state.end_ms = end_ms
            state.used += row.quantity
            period_opened |= opened and place == 0
        self._count_segment(counted, row, layout, period_opened=period_opened)

    def layout(self, row: Row) -> Ask:
        """The windows and the price that a row was decided with. Raises EntitlementMissing."""
        key = (row.customer, row.entitlement, row.feature)
        found = self._asks.get(key)
        if found is None or not found.valid_from_ms <= row.at_ms < found.valid_until_ms:
            found = self._asks[key] = self._laid_out(row)
        self._asks.move_to_end(key)
        if len(self._asks) > ASKS_MAX:
            self._asks.popitem(last=False)
        return found

    def cost_nano(self, row: Row) -> int:
        """What a row must have cost: A(after) − A(before) of its segment. Raises EntitlementMissing."""
        price = self.layout(row).price
        if price is None or row.overage == 0:
            return 0
        before = row.overage_after - row.overage
        return amount_nano(price, row.overage_after) - amount_nano(price, before)

    def state(self, customer: str, feature: str) -> UsageState | None:
        """The counters of one customer and feature; None when no row was about them."""
        counted = self._counted.get((customer, feature))
        return None if counted is None else _frozen(counted)

    def states(self) -> Iterator[tuple[str, str, UsageState]]:
        """Every customer and feature with its counters."""
        for (customer, feature), counted in self._counted.items():
            yield customer, feature, _frozen(counted)

    def _laid_out(self, row: Row) -> Ask:
        document = self._documents(row.customer, row.entitlement)
        entitlement = None if document is None else document.at(row.at_ms)
        if entitlement is None or row.feature not in entitlement.features:
            raise EntitlementMissing(
                f"{row.id}: entitlement {row.entitlement} of {row.customer} with {row.feature}"
            )
        return ask(entitlement, entitlement.features[row.feature], row.at_ms)

    def _count_segment(
        self, counted: _Counted, row: Row, layout: Ask, *, period_opened: bool
    ) -> None:
        segments = counted.segments
        if period_opened:
            segments.clear()
        if not segments or segments[-1].price != layout.price_id:
            counted.period_start_ms = layout.period_start_ms
            segments.append(
                _Segment(
                    segment=len(segments) + 1,
                    price=layout.price_id,
                    entitlement=row.entitlement,
                    since_ms=row.at_ms,
                )
            )
        segment = segments[-1]
        segment.quantity += row.quantity
        segment.included += row.included
        segment.overage += row.overage
        segment.beyond += row.beyond
        segment.cost += row.cost_nano


def _frozen(counted: _Counted) -> UsageState:
    return UsageState(
        windows={
            name: WindowState(used=w.used, from_ms=w.from_ms, end_ms=w.end_ms)
            for name, w in counted.windows.items()
        },
        segments=tuple(
            SegmentState(**{name: getattr(each, name) for name in SegmentState.__slots__})
            for each in counted.segments
        ),
        period_start_ms=counted.period_start_ms,
    )
