"""Publishes a catalog and moves running subscriptions to it: at their renewal, now, or not at all.

A push is a row that says how far its move has come. Pages are moved one transaction each, so a move that was cut off goes
on where it stopped, and a newer push takes over from an older one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from psycopg import Connection
from psycopg.types.json import Jsonb

from gateway.pricing.catalog import Catalog
from gateway.pricing.subscription import billing_period_at
from reconciler.clock import instant
from reconciler.phases import (
    Account,
    Phase,
    account_of,
    catalog_of,
    phase_at,
    phases_of,
    save_phase,
    subscription_of,
)
from reconciler.publisher import compile_customer
from reconciler.sql import queries

Existing = Literal["renewal", "now", "keep"]

PAGE = 100
"""Customers moved in one transaction."""
SKIPPED_MAX = 100
"""Customers that could not be moved and are named on the push; more are only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why running subscriptions cannot go on under a catalog."""

    plan: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A push as it stands."""

    number: int
    version: int
    created: bool
    existing: str
    moved: int
    skipped: Sequence[dict[str, str]]
    done: bool


def publish(
    connection: Connection[Any], catalog: Catalog, source: str, existing: Existing, *, at_ms: int
) -> Push:
    """Make a catalog the live one, in the caller's transaction; the same document keeps its version.

    What speaks against it, `obstacles_to` says beforehand.
    """
    connection.execute(queries["control_catalog_lock"])
    found = connection.execute(
        queries["control_catalog_by_sha256"], {"sha256": catalog.sha256}
    ).fetchone()
    if found is None:
        version = _add_catalog(connection, catalog, source, at_ms=at_ms)
    else:
        version = int(found[0])
    last = last_push(connection)
    if last is not None and (last.version, last.existing) == (version, existing):
        return last
    # Only the newest push says where subscriptions belong.
    connection.execute(queries["control_supersede_pushes"], {"now": instant(at_ms)})
    connection.execute(
        queries["control_add_push"],
        {"version": version, "existing": existing, "now": instant(at_ms)},
    )
    added = last_push(connection)
    assert added is not None, "it was just added"
    return replace(added, created=found is None)


def live_version(connection: Connection[Any]) -> int | None:
    """The version that new subscriptions get; None before the first push."""
    row = connection.execute(queries["control_live_version"]).fetchone()
    return None if row is None else int(row[0])


def last_push(connection: Connection[Any]) -> Push | None:
    """The newest push as it stands."""
    row = connection.execute(queries["control_last_push"]).fetchone()
    if row is None:
        return None
    number, version, existing, moved, skipped, done = row
    return Push(
        number=number,
        version=version,
        created=False,
        existing=existing,
        moved=moved,
        skipped=skipped,
        done=done,
    )


def obstacles_to(
    connection: Connection[Any], catalog: Catalog, existing: Existing, *, at_ms: int
) -> list[Obstacle]:
    """What speaks against publishing: features whose scale changed, plans in use that are gone or differ in kind."""
    found = []
    for feature, scale in connection.execute(queries["control_feature_scales"]).fetchall():
        known = catalog.features.get(feature)
        if known is not None and known.scale != int(scale or 0):
            message = (
                f"feature {feature!r} has scale {scale} in an earlier catalog; "
                "what is counted cannot change its unit: add a new feature"
            )
            found.append(Obstacle(plan="", code="scale_changed", message=message))
    if existing == "keep":
        return found
    in_use = connection.execute(queries["control_plans_in_use"], {"now": instant(at_ms)})
    for plan, version, customers in in_use.fetchall():
        before = catalog_of(connection, version).plans[plan]
        after = catalog.plans.get(plan)
        used = f"plan {plan!r} is used by {customers} running subscriptions"
        if after is None:
            message = f"{used}; keep the plan, or push with existing=keep"
            found.append(Obstacle(plan=plan, code="plan_in_use", message=message))
            continue
        for name in ("currency", "interval", "usage_interval"):
            if getattr(before, name) != getattr(after, name):
                message = f"{used}, and its {name} cannot change under them; add a plan"
                found.append(Obstacle(plan=plan, code="plan_in_use", message=message))
    return found


def touched(connection: Connection[Any], catalog: Catalog, *, at_ms: int) -> dict[str, int]:
    """How many running subscriptions each choice of `existing` would move to this catalog."""
    row = connection.execute(
        queries["control_count_touched"], {"now": instant(at_ms), "sha256": catalog.sha256}
    ).fetchone()
    assert row is not None, "a count is a row"
    return {"renewal": int(row[0]), "now": int(row[1]), "keep": 0}


def move_a_page(connection: Connection[Any], *, at_ms: int) -> bool:
    """Move the next customers of the newest push, in one transaction; False when nothing is left to move."""
    with connection.transaction():
        row = connection.execute(queries["control_unfinished_push"]).fetchone()
        if row is None:
            return False
        number, version, existing, after = row
        page = connection.execute(
            queries["control_customers_to_move"],
            {"version": version, "after": after, "now": instant(at_ms), "limit": PAGE},
        ).fetchall()
        customers = [each[0] for each in page]
        moved, skipped = 0, []
        for customer in customers:
            try:
                with connection.transaction():
                    moved += _move(connection, customer, version, existing, at_ms=at_ms)
            except (ValueError, LookupError) as error:
                skipped.append({"customer": customer, "reason": str(error)[:500]})
        connection.execute(
            queries["control_push_progress"],
            {
                "number": number,
                "moved_to": customers[-1] if customers else after,
                "moved": moved,
                "skipped": Jsonb(skipped),
                "skipped_max": SKIPPED_MAX,
                "done_at": instant(at_ms) if len(customers) < PAGE else None,
            },
        )
    return len(customers) == PAGE


def _move(
    connection: Connection[Any], customer: str, version: int, existing: str, *, at_ms: int
) -> bool:
    account = account_of(connection, customer, lock=True)
    if account is None:
        return False
    phases = phases_of(connection, customer)
    running = [each for each in phases if each.ends_ms is None or each.ends_ms > at_ms]
    if existing == "renewal":
        changed = _at_renewal(connection, account, running, version, at_ms=at_ms)
    else:
        changed = [replace(each, catalog=version) for each in running if each.catalog != version]
    for phase in changed:
        save_phase(connection, phase, at_ms=at_ms)
    if changed:
        compile_customer(connection, customer, at_ms=at_ms)
    return bool(changed)


def _at_renewal(
    connection: Connection[Any],
    account: Account,
    running: Sequence[Phase],
    version: int,
    *,
    at_ms: int,
) -> list[Phase]:
    """The phases to save so that the subscription goes on under another catalog from its next billing period."""
    if phase_at(running, at_ms) is None:
        return []
    current, *later = running
    if current.starts_ms > at_ms or later:
        waiting = [*later] if current.starts_ms <= at_ms else [current, *later]
        return [replace(each, catalog=version) for each in waiting if each.catalog != version]
    if current.catalog == version:
        return []
    renews_ms = billing_period_at(subscription_of(connection, account, current), at_ms).end_ms
    if current.ends_ms is not None and current.ends_ms <= renews_ms:
        return []
    # The base price of the period that begins here is on the invoice of the period before it.
    after = replace(current, starts_ms=renews_ms, catalog=version, billed_to_ms=renews_ms)
    return [replace(current, ends_ms=renews_ms), after]


def _add_catalog(connection: Connection[Any], catalog: Catalog, source: str, *, at_ms: int) -> int:
    row = connection.execute(
        queries["control_add_catalog"],
        {
            "sha256": catalog.sha256,
            "doc": Jsonb(catalog.to_plain()),
            "source": source,
            "now": instant(at_ms),
        },
    ).fetchone()
    assert row is not None, "an insert returns its row"
    return int(row[0])
