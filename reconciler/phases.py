"""A customer's subscription as Postgres has it: a row of phases, read into what pricing works with."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from gateway.pricing.catalog import Catalog
from gateway.pricing.subscription import Subscription, billing_period_at
from reconciler.clock import instant, milliseconds
from reconciler.sql import queries

CATALOGS_KEPT_MAX = 32
"""Catalogs kept in memory; they never change, so they are found again by their hash."""

_catalogs: OrderedDict[str, Catalog] = OrderedDict()
_catalogs_lock = Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What of a customer bears on entitlements and invoices."""

    id: str
    currency: str | None
    zone: str
    suspended: bool
    doc: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of a subscription under one plan of one catalog. Times are milliseconds."""

    customer: str
    starts_ms: int
    ends_ms: int | None
    anchor_ms: int
    plan: str
    catalog: int
    quantity: int
    overrides: Mapping[str, Any]
    billed_to_ms: int | None = None
    """Invoices cover the phase up to here; None: there is none yet."""
    due_ms: int | None = None

    def covers(self, at_ms: int) -> bool:
        """Whether the phase is in force at an instant."""
        return self.starts_ms <= at_ms and (self.ends_ms is None or at_ms < self.ends_ms)


def account_of(connection: Connection[Any], customer: str, *, lock: bool = False) -> Account | None:
    """A customer, whose row is locked on request so that changes to one customer follow each other."""
    query = queries["control_account_locked" if lock else "control_account"]
    row = connection.execute(query, {"customer": customer}).fetchone()
    if row is None:
        return None
    return Account(id=row[0], currency=row[1], zone=row[2], suspended=row[3], doc=row[4])


def phases_of(connection: Connection[Any], customer: str) -> list[Phase]:
    """All phases of a customer, oldest first."""
    cursor = connection.cursor(row_factory=dict_row)
    rows = cursor.execute(queries["control_phases"], {"customer": customer}).fetchall()
    return [phase_of(row) for row in rows]


def phase_of(row: Mapping[str, Any]) -> Phase:
    """A phase of its row."""

    def optional(name: str) -> int | None:
        return None if row[name] is None else milliseconds(row[name])

    return Phase(
        customer=row["customer"],
        starts_ms=milliseconds(row["starts_at"]),
        ends_ms=optional("ends_at"),
        anchor_ms=milliseconds(row["anchor_at"]),
        plan=row["plan"],
        catalog=row["catalog"],
        quantity=row["quantity"],
        overrides=row["overrides"],
        billed_to_ms=optional("billed_to"),
        due_ms=optional("due_at"),
    )


def phase_at(phases: Sequence[Phase], at_ms: int) -> int | None:
    """The place of the phase in force: the last that has begun, else the first; None without phases."""
    begun = [place for place, phase in enumerate(phases) if phase.starts_ms <= at_ms]
    return begun[-1] if begun else (0 if phases else None)


def save_phase(connection: Connection[Any], phase: Phase, *, at_ms: int) -> None:
    """Insert or replace a phase, with the time at which its next invoice falls due."""
    due_ms = due_at(connection, phase)
    connection.execute(
        queries["control_save_phase"],
        {
            "customer": phase.customer,
            "starts_at": instant(phase.starts_ms),
            "ends_at": None if phase.ends_ms is None else instant(phase.ends_ms),
            "anchor_at": instant(phase.anchor_ms),
            "plan": phase.plan,
            "catalog": phase.catalog,
            "quantity": phase.quantity,
            "overrides": Jsonb(dict(phase.overrides)),
            "billed_to": None if phase.billed_to_ms is None else instant(phase.billed_to_ms),
            "due_at": None if due_ms is None else instant(due_ms),
            "now": instant(at_ms),
        },
    )


def drop_phase(connection: Connection[Any], phase: Phase) -> None:
    """Remove a phase that has not begun."""
    connection.execute(
        queries["control_drop_phase"],
        {"customer": phase.customer, "starts_at": instant(phase.starts_ms)},
    )


def due_at(connection: Connection[Any], phase: Phase) -> int | None:
    """When the phase's next invoice can be made, grace not counted; None when there is none to come."""
    if phase.billed_to_ms is None:
        return phase.starts_ms
    if phase.ends_ms is not None and phase.billed_to_ms >= phase.ends_ms:
        return None
    account = account_of(connection, phase.customer)
    assert account is not None, "a phase belongs to a customer"
    subscription = subscription_of(connection, account, phase)
    end_ms = billing_period_at(subscription, phase.billed_to_ms).end_ms
    return end_ms if phase.ends_ms is None else min(end_ms, phase.ends_ms)


def subscription_of(connection: Connection[Any], account: Account, phase: Phase) -> Subscription:
    """The phase as pricing sees it. Raises SubscriptionInvalid."""
    billed = phase.ends_ms is not None and phase.due_ms is None
    return Subscription(
        customer=account.id,
        plan=phase.plan,
        catalog=catalog_of(connection, phase.catalog),
        catalog_version=phase.catalog,
        starts_ms=phase.starts_ms,
        ends_ms=phase.ends_ms,
        anchor_ms=phase.anchor_ms,
        quantity=phase.quantity,
        overrides=phase.overrides,
        zone=account.zone,
        suspended=account.suspended,
        # Whoever has paid for it all may go on in another currency.
        currency=None if billed else account.currency,
    )


def catalog_of(connection: Connection[Any], version: int) -> Catalog:
    """A stored catalog. Raises LookupError for a version that does not exist."""
    row = connection.execute(queries["control_catalog_sha256"], {"version": version}).fetchone()
    if row is None:
        raise LookupError(f"there is no catalog {version}")
    sha256 = row[0]
    with _catalogs_lock:
        if sha256 in _catalogs:
            _catalogs.move_to_end(sha256)
            return _catalogs[sha256]
    doc = connection.execute(queries["control_catalog_doc"], {"version": version}).fetchone()
    assert doc is not None, "catalogs are never deleted"
    catalog = Catalog.from_plain(doc[0])
    with _catalogs_lock:
        _catalogs[sha256] = catalog
        while len(_catalogs) > CATALOGS_KEPT_MAX:
            _catalogs.popitem(last=False)
    return catalog
