"""Makes invoices: closes each billing period once, when the ledger provably has all of it.

A period is closed in three steps. A barrier raises the bucket's clock past the period's end, so that no decision can still
fall into it; then the ledger is waited for; then one transaction, under a lock on the customer, builds the invoice, gives it the
next number and moves the phase on. Two runs at once therefore make each invoice once, and a crash leaves no gap.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from psycopg import Connection
from psycopg.types.json import Jsonb
from redis import Redis

from gateway.pricing.catalog import CatalogInvalid
from gateway.pricing.invoice import BaseCharge, Invoice, invoice
from gateway.pricing.segment import SegmentUsage, UsageNotRated
from gateway.pricing.subscription import SubscriptionInvalid, billing_period_at
from lua import keys, load
from reconciler.billing import (
    EntitlementUnknown,
    as_in_force,
    charge_at_end,
    clipped,
    entitlement_before,
    entitlements_of,
    first_charge,
    segment_usage,
    segments_of_ledger,
    tax_of,
)
from reconciler.clock import Clock, instant
from reconciler.finalizing import next_number
from reconciler.phases import (
    Account,
    Phase,
    account_of,
    due_at,
    phase_of,
    phases_of,
    subscription_of,
)
from reconciler.sql import queries

PAGE: Final = 100
"""Phases that are closed behind one round of barriers."""
INVOICES_A_RUN_MAX: Final = 2_000
LEDGER_WAIT_MS: Final = 10_000
"""How long one page waits for the ledger before its customers are left for the next run."""
LEDGER_POLL_MS: Final = 50

Place = tuple[int, int]
"""An epoch and a sequence number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """A bucket behind its barrier."""

    now_ms: int
    """Its time; the barrier holds only from the end of the period on."""
    place: Place
    """The last entry of its log: everything before the end is there or before."""
    adopted: bool


@dataclass(slots=True, kw_only=True)
class InvoiceRun:
    """What one run did."""

    issued: list[str] = field(default_factory=list)
    """Ids of the invoices made."""
    without_lines: int = 0
    """Periods in which nothing was used and nothing is owed: they make no invoice."""
    waiting: list[dict[str, str]] = field(default_factory=list)
    """Customers whose period cannot be closed yet, with the reason."""
    failed: list[dict[str, str]] = field(default_factory=list)
    """Customers whose period cannot be billed, with the reason."""
    more: bool = False
    """The run reached its bound; run again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoicer:
    """Closes periods against one Postgres and one Redis."""

    redis: "Redis"
    clock: Clock
    grace_ms: int
    finalize: bool = True
    """Otherwise drafts are made, without a number."""
    ledger_wait_ms: int = LEDGER_WAIT_MS
    sleep: Callable[[float], None] = time.sleep

    def run(self, connection: Connection[Any], customer: str | None = None) -> InvoiceRun:
        """Make every invoice that is due, a bounded number; repeat while `more`."""
        done = InvoiceRun()
        while len(done.issued) + done.without_lines < INVOICES_A_RUN_MAX:
            left_out = [each["customer"] for each in (*done.waiting, *done.failed)]
            due = self._due(connection, customer, left_out)
            if not due:
                return done
            for phase, reason in self._unsettled(connection, due):
                done.waiting.append({"customer": phase.customer, "reason": reason})
            waiting = {each["customer"] for each in done.waiting}
            for phase in due:
                if phase.customer not in waiting:
                    self._close_reporting(connection, phase, done)
        done.more = True
        return done

    def _due(
        self, connection: Connection[Any], customer: str | None, without: Sequence[str]
    ) -> list[Phase]:
        """One due phase for each customer of the next page, the oldest first."""
        now_ms = self.clock.now_ms(connection)
        with connection.transaction():
            cursor = connection.execute(
                queries["invoicer_due"],
                {
                    "now": instant(now_ms),
                    "graced": instant(now_ms - self.grace_ms),
                    "customer": customer,
                    "without": list(without),
                    "limit": PAGE,
                },
            )
            names = [column.name for column in cursor.description or ()]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        by_customer: dict[str, Phase] = {}
        for row in rows:
            by_customer.setdefault(row["customer"], phase_of(row))
        return list(by_customer.values())

    def _unsettled(
        self, connection: Connection[Any], due: Sequence[Phase]
    ) -> list[tuple[Phase, str]]:
        """The phases whose period the ledger cannot be shown to have completely, with the reason."""
        closing = [phase for phase in due if phase.billed_to_ms is not None]
        ends: dict[int, int] = {}
        for phase in closing:
            assert phase.due_ms is not None, "a due phase has a due time"
            bucket = keys.bucket_of(phase.customer)
            ends[bucket] = max(phase.due_ms, ends.get(bucket, 0))
        reached = self._raise_barriers(ends)
        behind = self._wait(connection, {b: each.place for b, each in reached.items()})
        found = []
        for phase in closing:
            bucket = keys.bucket_of(phase.customer)
            if not reached[bucket].adopted:
                found.append((phase, "this Redis has not been adopted for the customer yet"))
            elif reached[bucket].now_ms < ends[bucket]:
                found.append((phase, "Redis' clock has not reached the end of the period"))
            elif bucket in behind:
                found.append((phase, "the ledger does not have the whole period yet"))
        return found

    def _raise_barriers(self, ends: dict[int, int]) -> dict[int, Barrier]:
        """The buckets, once nothing can be added to them before their end."""
        script = load("barrier")
        pipeline = self.redis.pipeline(transaction=False)
        for bucket, end_ms in ends.items():
            key, args = script.bind(meta=keys.meta(bucket), at_ms=end_ms)
            pipeline.eval(script.source, len(key), *key, *args)
            pipeline.xrevrange(keys.log(bucket), count=1)
        replies = pipeline.execute()
        reached = {}
        for bucket, (now_ms, epoch, seq), last in zip(
            ends, replies[::2], replies[1::2], strict=True
        ):
            place = (epoch, seq) if seq else (0, 0)
            if last:
                at_epoch, at_seq = last[0][0].split(b"-")
                place = max(place, (int(at_epoch), int(at_seq)))
            # A bucket without an epoch may have forgotten decisions that nobody has missed yet.
            reached[bucket] = Barrier(now_ms=now_ms, place=place, adopted=epoch > 0)
        return reached

    def _wait(self, connection: Connection[Any], places: dict[int, Place]) -> set[int]:
        """The buckets that the ledger has not copied up to a place within the wait."""
        behind = set(places)
        for _ in range(max(1, self.ledger_wait_ms // LEDGER_POLL_MS)):
            with connection.transaction():
                rows = connection.execute(
                    queries["invoicer_positions"], {"buckets": list(behind)}
                ).fetchall()
            copied = {bucket: (epoch, seq) for bucket, epoch, seq in rows}
            behind = {b for b in behind if copied.get(b, (0, 0)) < places[b]}
            if not behind:
                break
            self.sleep(LEDGER_POLL_MS / 1000)
        return behind

    def _close_reporting(self, connection: Connection[Any], phase: Phase, done: InvoiceRun) -> None:
        try:
            with connection.transaction():
                made = self._close(connection, phase)
        except (UsageNotRated, EntitlementUnknown, SubscriptionInvalid, CatalogInvalid) as error:
            done.failed.append({"customer": phase.customer, "reason": str(error)})
            return
        if made is not None and made.lines:
            done.issued.append(made.id)
        elif made is not None:
            done.without_lines += 1

    def _close(self, connection: Connection[Any], phase: Phase) -> Invoice | None:
        """Bill one period in the caller's transaction; None when another run was first."""
        account = account_of(connection, phase.customer, lock=True)
        phases = phases_of(connection, phase.customer) if account else []
        same = [each for each in phases if each.starts_ms == phase.starts_ms]
        if account is None or not same or same[0].due_ms != phase.due_ms:
            return None
        current = same[0]
        first = current.billed_to_ms is None
        made = self._build(connection, account, phases, current)
        if made.lines:
            self._store(connection, account, made)
        billed = replace(current, billed_to_ms=current.starts_ms if first else made.end_ms)
        due_ms = due_at(connection, billed)
        connection.execute(
            queries["invoicer_advance"],
            {
                "customer": phase.customer,
                "starts_at": instant(phase.starts_ms),
                "billed_to": instant(billed.billed_to_ms or 0),
                "due_at": None if due_ms is None else instant(due_ms),
            },
        )
        return made

    def _build(
        self, connection: Connection[Any], account: Account, phases: Sequence[Phase], phase: Phase
    ) -> Invoice:
        subscription = subscription_of(connection, account, phase)
        start_ms = end_ms = phase.starts_ms
        usage: list[SegmentUsage] = []
        base: BaseCharge | None
        if phase.billed_to_ms is None:
            begun = as_in_force(connection, phase, phase.starts_ms)
            base = first_charge(subscription_of(connection, account, begun))
        else:
            window = billing_period_at(subscription, phase.billed_to_ms)
            period = clipped(window, phase.billed_to_ms, phase.ends_ms)
            start_ms, end_ms = period.start_ms, period.end_ms
            base = charge_at_end(connection, account, phases, end_ms)
            segments = segments_of_ledger(connection, account.id, window.start_ms)
            entitlement = entitlement_before(connection, phase, end_ms)
            versions = (segment.entitlement for segment in segments)
            entitlements = entitlements_of(connection, account.id, versions)
            usage = segment_usage(segments, entitlement, period, entitlements)
        return invoice(
            id=f"inv_{secrets.token_hex(12)}",
            customer=account.id,
            currency=subscription.catalog.plans[subscription.plan].currency,
            start_ms=start_ms,
            end_ms=end_ms,
            base=base,
            usage=usage,
            tax=tax_of(account),
            status="draft",
        )

    def _store(self, connection: Connection[Any], account: Account, made: Invoice) -> None:
        now = instant(self.clock.now_ms(connection))
        number = next_number(connection) if self.finalize else None
        status = "finalized" if self.finalize else "draft"
        doc = {**made.to_plain(), "number": number, "status": status, "billTo": bill_to(account)}
        connection.execute(
            queries["invoicer_add"],
            {
                "id": made.id,
                "number": number,
                "customer": made.customer,
                "status": status,
                "currency": made.currency,
                "period_start": instant(made.start_ms),
                "period_end": instant(made.end_ms),
                "total": made.total,
                "doc": Jsonb(doc),
                "now": now,
                "finalized_at": now if self.finalize else None,
            },
        )


def bill_to(account: Account) -> dict[str, Any]:
    """Whom the invoice is for, as it was when it was made."""
    names = ("name", "email", "address", "taxId")
    return {name: account.doc[name] for name in names if account.doc.get(name)}
