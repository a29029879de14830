"""Gathers what an invoice is made of: the usage of a billing period, and the base price that is owed at its end."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgpack
from psycopg import Connection

from gateway.pricing.entitlement import Entitlement, FeatureEntitlement
from gateway.pricing.invoice import BaseCharge, Tax
from gateway.pricing.money import NANO_SCALE
from gateway.pricing.price import Price
from gateway.pricing.segment import SegmentUsage
from gateway.pricing.subscription import Subscription, base_charge, interval_at
from gateway.pricing.window import Window
from lua.state import UsageState
from reconciler.clock import instant, milliseconds
from reconciler.phases import Account, Phase, phase_at, subscription_of
from reconciler.sql import queries


class EntitlementUnknown(LookupError):
    """A decision names an entitlement that Postgres does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The sums of one segment, from the ledger or from the enforcement state, and who opened it when."""

    feature: str
    segment: int
    entitlement: int
    opened_ms: int
    quantity: int
    included: int
    overage: int
    cost_nano: int


def first_charge(subscription: Subscription) -> BaseCharge:
    """What is owed in advance when a subscription begins, within an interval or at its start."""
    plan = subscription.catalog.plan_with(subscription.plan, subscription.overrides)
    interval = interval_at(subscription, subscription.starts_ms)
    return BaseCharge(
        plan=plan.id,
        name=plan.name,
        price=plan.price,
        quantity=subscription.quantity,
        period=Window(subscription.starts_ms, interval.end_ms),
        catalog=subscription.catalog_version,
    )


def charge_at_end(
    connection: Connection[Any], account: Account, phases: Sequence[Phase], end_ms: int
) -> BaseCharge | None:
    """What is owed in advance at the end of a period: None where no interval begins or nothing goes on.

    A subscription that begins anew there has a first invoice of its own.
    """
    place = phase_at(phases, end_ms)
    if place is None:
        return None
    phase = phases[place]
    if phase.starts_ms == end_ms and phase.billed_to_ms is None:
        return None
    in_force = as_in_force(connection, phase, end_ms)
    return base_charge(subscription_of(connection, account, in_force), end_ms)


def as_in_force(connection: Connection[Any], phase: Phase, at_ms: int) -> Phase:
    """The phase under the catalog of an instant: what is owed then does not follow a later push."""
    found = _entitlement_of(connection, phase, at_ms)
    return phase if found is None else replace(phase, catalog=found.catalog)


def tax_of(account: Account) -> Tax | None:
    """The tax that a customer's invoices carry."""
    said = account.doc.get("tax")
    if not said:
        return None
    return Tax(
        name=said["name"], percent=Decimal(said["percent"]), inclusive=said.get("inclusive", False)
    )


def segments_of_ledger(
    connection: Connection[Any], customer: str, period_start_ms: int
) -> list[Segment]:
    """What the ledger has of a customer's billing period."""
    rows = connection.execute(
        queries["invoicer_usage"], {"customer": customer, "period_start": instant(period_start_ms)}
    )
    return [
        Segment(
            feature=feature,
            segment=segment,
            entitlement=entitlement,
            opened_ms=milliseconds(opened_at),
            quantity=int(quantity),
            included=int(included),
            overage=int(overage),
            cost_nano=int(Decimal(cost).scaleb(NANO_SCALE)),
        )
        for feature, segment, entitlement, opened_at, quantity, included, overage, cost in rows
    ]


def segments_of_state(states: Mapping[str, UsageState], period_start_ms: int) -> list[Segment]:
    """What the enforcement state has of the billing period; hashes that still show an earlier one are left out."""
    return [
        Segment(
            feature=feature,
            segment=segment.segment,
            entitlement=segment.entitlement,
            opened_ms=segment.since_ms,
            quantity=segment.quantity,
            included=segment.included,
            overage=segment.overage,
            cost_nano=segment.cost,
        )
        for feature, state in states.items()
        if state.period_start_ms == period_start_ms
        for segment in state.segments
    ]


def segment_usage(
    segments: Iterable[Segment],
    current: Entitlement,
    period: Window,
    entitlements: Mapping[int, Entitlement],
) -> list[SegmentUsage]:
    """The segments with their prices, and a zero for each feature that was not used under its present price.

    What a price asks for no usage at all is asked by the one in force last. Raises EntitlementUnknown.
    """
    used: list[SegmentUsage] = []
    for segment in segments:
        if segment.entitlement not in entitlements:
            raise EntitlementUnknown(
                f"{segment.feature} was counted under entitlement {segment.entitlement}, "
                "which is not in Postgres"
            )
        opened_by = entitlements[segment.entitlement].at(segment.opened_ms)
        feature = opened_by.features.get(segment.feature)
        if feature is None:
            raise EntitlementUnknown(
                f"entitlement {segment.entitlement} does not know {segment.feature}"
            )
        used.append(_segment_usage(segment, feature, period, opened_by.catalog))
    last = {each.feature: each for each in used}
    for name, feature in current.features.items():
        before = last.get(name)
        if _price_of(feature) != (None if before is None else before.price):
            unused = Segment(
                feature=name,
                segment=1 if before is None else before.segment + 1,
                entitlement=current.version,
                opened_ms=period.start_ms,
                quantity=0,
                included=0,
                overage=0,
                cost_nano=0,
            )
            used.append(_segment_usage(unused, feature, period, current.catalog))
    return used


def entitlements_of(
    connection: Connection[Any], customer: str, versions: Iterable[int]
) -> dict[int, Entitlement]:
    """Entitlements of a customer by version; versions that are not there are left out."""
    rows = connection.execute(
        queries["invoicer_entitlements"], {"customer": customer, "versions": list(set(versions))}
    )
    return {version: read_entitlement(doc) for version, doc in rows if doc is not None}


def entitlement_before(connection: Connection[Any], phase: Phase, end_ms: int) -> Entitlement:
    """What could be used in a phase just before an instant.

    One that was begun in the past is not in any entitlement of that time: then the first made afterwards
    counts. Raises EntitlementUnknown.
    """
    found = _entitlement_of(connection, phase, end_ms - 1)
    if found is None:
        raise EntitlementUnknown(
            f"no entitlement says what was in force before {instant(end_ms).isoformat()}"
        )
    return found


def _entitlement_of(connection: Connection[Any], phase: Phase, at_ms: int) -> Entitlement | None:
    rows = connection.execute(
        queries["invoicer_entitlements_around"],
        {"customer": phase.customer, "at": instant(at_ms)},
    )
    for (doc,) in rows:
        found = read_entitlement(doc).at(at_ms)
        if found.starts_ms == phase.starts_ms:
            return found
    return None


def read_entitlement(doc: bytes) -> Entitlement:
    """An entitlement as Postgres and Redis keep it. Raises ValueError for another format."""
    return Entitlement.from_plain(msgpack.unpackb(doc))


def clipped(window: Window, start_ms: int, end_ms: int | None) -> Window:
    """The part of a window in which a subscription runs."""
    return replace(
        window,
        start_ms=max(window.start_ms, start_ms),
        end_ms=window.end_ms if end_ms is None else min(window.end_ms, end_ms),
    )


def _price_of(feature: FeatureEntitlement) -> Price | None:
    return feature.price if feature.overage == "charge" else None


def _segment_usage(
    segment: Segment, feature: FeatureEntitlement, period: Window, catalog: int
) -> SegmentUsage:
    return SegmentUsage(
        feature=segment.feature,
        name=feature.name,
        unit=feature.unit,
        scale=feature.scale,
        segment=segment.segment,
        period=period,
        quantity=segment.quantity,
        included=segment.included,
        overage=segment.overage,
        cost_nano=segment.cost_nano,
        price=_price_of(feature),
        catalog=catalog,
    )
