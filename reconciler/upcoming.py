"""The upcoming invoice: the running period, from one script call over the enforcement state."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from psycopg import Connection
from redis import Redis

from gateway.pricing.entitlement import Entitlement
from gateway.pricing.invoice import BaseCharge, Invoice, Tax, invoice
from gateway.pricing.money import NANO_SCALE
from gateway.pricing.window import Span, window_at
from lua import keys, load
from lua.state import UsageState
from reconciler.billing import (
    charge_at_end,
    clipped,
    entitlements_of,
    read_entitlement,
    segment_usage,
    segments_of_state,
    tax_of,
)
from reconciler.phases import account_of, phases_of
from reconciler.sql import queries

ATTEMPTS_MAX = 3
"""How often the state is read again because the entitlement changed in between."""


class NothingRunning(LookupError):
    """No billing period of this customer is running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforced:
    """What Redis says of one customer at one instant."""

    at_ms: int
    entitlement: Entitlement
    states: Mapping[str, UsageState]
    entitlements: Mapping[int, Entitlement]
    """Those that Redis has, by version: this one, whole, and replaced ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcoming:
    """The invoice so far, and the instant it is of."""

    invoice: Invoice
    at_ms: int
    partial: bool
    """Made without Postgres: usage lines only."""

    def to_plain(self) -> dict[str, Any]:
        """The invoice in the shape of the HTTP contract."""
        return {**self.invoice.to_plain(), "partial": self.partial}


def upcoming(connection: Connection[Any] | None, redis: "Redis", customer: str) -> Upcoming:
    """The invoice that would close the running period now; without a connection, its usage lines only.

    Raises NothingRunning, EntitlementUnknown and UsageNotRated.
    """
    found = enforced(connection, redis, customer)
    running = found.entitlement
    if found.at_ms < running.starts_ms or (
        running.ends_ms is not None and found.at_ms >= running.ends_ms
    ):
        raise NothingRunning(f"The subscription of {customer!r} is not running.")
    window = window_at(
        Span("period"),
        "anchor",
        at_ms=found.at_ms,
        anchor_ms=running.anchor_ms,
        zone=running.zone,
        period=running.period,
    )
    period = clipped(window, running.starts_ms, running.ends_ms)
    segments = segments_of_state(found.states, window.start_ms)
    entitlements = dict(found.entitlements)
    base: BaseCharge | None = None
    tax: Tax | None = None
    if connection is not None:
        entitlements |= entitlements_of(
            connection, customer, (segment.entitlement for segment in segments)
        )
        account = account_of(connection, customer)
        assert account is not None, "an entitlement in Redis belongs to a customer"
        phases = phases_of(connection, customer)
        base = charge_at_end(connection, account, phases, period.end_ms)
        tax = tax_of(account)
    made = invoice(
        id="upcoming",
        customer=customer,
        currency=running.currency,
        start_ms=period.start_ms,
        end_ms=period.end_ms,
        base=base,
        usage=segment_usage(segments, running, period, entitlements),
        tax=tax,
        status="upcoming",
    )
    return Upcoming(invoice=made, at_ms=found.at_ms, partial=connection is None)


def enforced(connection: Connection[Any] | None, redis: "Redis", customer: str) -> Enforced:
    """What Redis enforces for a customer, all of one instant. Raises NothingRunning."""
    for _ in range(ATTEMPTS_MAX):
        stored: Any = redis.hmget(keys.entitlement(customer), "version", "doc")
        version, doc = stored
        if not doc:
            raise NothingRunning(f"{customer!r} has no subscription.")
        compiled = read_entitlement(doc)
        entitlements = _past(redis, customer) | {int(version): compiled}
        features = _features(connection, customer, entitlements.values())
        script = load("balances")
        key, args = script.bind(
            meta=keys.meta(keys.bucket_of(customer)),
            entitlement=keys.entitlement(customer),
            usage=[keys.usage(customer, feature) for feature in features],
        )
        reply: Any = redis.eval(script.source, len(key), *key, *args)
        at_ms, _, _, at_version, *hashes = reply
        if at_version != version:
            continue
        states = {
            feature: UsageState.parse(fields)
            for feature, fields in zip(features, hashes, strict=True)
        }
        return Enforced(
            at_ms=at_ms,
            entitlement=compiled.at(at_ms),
            states=states,
            entitlements=entitlements,
        )
    raise NothingRunning(f"The subscription of {customer!r} keeps changing; ask again.")


def unbilled(connection: Connection[Any], redis: "Redis", customer: str) -> dict[str, Decimal]:
    """What a customer without invoices owes for usage, by feature: counted, copied to the ledger, or both."""
    rows = connection.execute(queries["invoicer_costs"], {"customer": customer}).fetchall()
    owed = {feature: Decimal(cost) for feature, cost in rows}
    try:
        states = enforced(connection, redis, customer).states
    except NothingRunning:
        states = {}
    for feature, state in states.items():
        counted = Decimal(sum(segment.cost for segment in state.segments)).scaleb(-NANO_SCALE)
        owed[feature] = max(owed.get(feature, Decimal(0)), counted)
    return {feature: cost for feature, cost in owed.items() if cost}


def _past(redis: "Redis", customer: str) -> dict[int, Entitlement]:
    """The replaced entitlements that Redis still has, by version."""
    stored: Any = redis.hgetall(keys.past_entitlements(customer))
    return {int(version): read_entitlement(doc) for version, doc in stored.items() if doc}


def _features(
    connection: Connection[Any] | None, customer: str, entitlements: Iterable[Entitlement]
) -> list[str]:
    """The features that may have been used: those of every entitlement at hand, and those in the ledger."""
    names: set[str] = set()
    for each in entitlements:
        phase: Entitlement | None = each
        while phase is not None:
            names |= {name for name, said in phase.features.items() if said.type == "metered"}
            phase = phase.next
    if connection is not None:
        rows = connection.execute(queries["invoicer_features_used"], {"customer": customer})
        names |= {row[0] for row in rows}
    return sorted(names)
