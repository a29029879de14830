"""Puts what Postgres has decided in force: entitlements, API keys and the live catalog go to Redis.

Compiling belongs to the transaction that changes the customer; pushing comes after its commit. What could not be
pushed stays marked in Postgres and is pushed later. An entitlement carries a version and Redis refuses an older one;
keys are pushed under a lock on their rows: so pushes may be repeated and may overlap. `past_kept_ms` is how long Redis keeps an
entitlement that another replaces, to answer a repeated idempotency key by it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgpack
import redis as redis_errors
from psycopg import Connection
from redis import Redis

from gateway.pricing.entitlement import Entitlement
from gateway.pricing.subscription import entitle
from gateway.pricing.window import Span
from lua import keys, load
from reconciler.clock import instant
from reconciler.phases import Account, account_of, phase_at, phases_of, subscription_of
from reconciler.sql import queries

PAGE = 500
"""Entitlements or keys that are read and sent at once."""
PENDING_PAGES_MAX = 100
"""Pages of one call of `push_pending`; what is left waits for the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """How much was sent to Redis."""

    entitlements: int
    keys: int
    catalog: int | None


def compile_customer(connection: Connection[Any], customer: str, *, at_ms: int) -> int | None:
    """Store a new version of what the customer may use; None for a customer that is gone and never had one.

    Call it in the transaction of the change, with the customer's row locked. Raises what `entitle` raises for
    overrides that do not fit.
    """
    account = account_of(connection, customer)
    phases = phases_of(connection, customer) if account else []
    place = phase_at(phases, at_ms)
    if account is None:
        return _store_withdrawal(connection, customer, at_ms=at_ms)
    version = _next_version(connection)
    if place is None:
        compiled = _nothing(account, version)
    else:
        subscription = subscription_of(connection, account, phases[place])
        after = phases[place + 1 : place + 2]
        following = subscription_of(connection, account, after[0]) if after else None
        compiled = entitle(subscription, version=version, following=following)
    doc = msgpack.packb(compiled.to_plain())
    _store(connection, customer, version, doc, at_ms=at_ms)
    return version


def push_customer(
    connection: Connection[Any], redis: "Redis", customer: str, *, past_kept_ms: int
) -> bool:
    """Send a customer's newest entitlement; False while Redis is away. Call it after the commit."""
    with connection.transaction():
        rows = connection.execute(
            queries["control_newest_entitlement"], {"customer": customer}
        ).fetchall()
        try:
            _push_entitlements(connection, redis, rows, past_kept_ms)
        except (redis_errors.ConnectionError, redis_errors.TimeoutError):
            return False
    return True


def push_keys(connection: Connection[Any], redis: "Redis", sha256s: Sequence[str]) -> bool:
    """Make Redis say of these keys what Postgres says; False while Redis is away."""
    try:
        with connection.transaction():
            _push_keys(connection, redis, sha256s)
    except (redis_errors.ConnectionError, redis_errors.TimeoutError):
        return False
    return True


def forget_keys(redis: "Redis", sha256s: Iterable[str]) -> None:
    """Take keys out of Redis whose rows are about to be deleted."""
    pipeline = redis.pipeline(transaction=False)
    for sha256 in sha256s:
        pipeline.delete(keys.api_key(sha256))
        pipeline.publish(keys.CHANGES, f"key {sha256}")
    pipeline.execute()


def push_catalog(connection: Connection[Any], redis: "Redis") -> int | None:
    """Send the live catalog; returns its version, None when nothing was ever pushed. Raises Redis' errors."""
    with connection.transaction():
        connection.execute(queries["control_catalog_lock"])
        row = connection.execute(queries["control_live_catalog"]).fetchone()
        if row is None:
            return None
        version, sha256, doc = row
        pipeline = redis.pipeline(transaction=False)
        pipeline.hset(
            keys.CATALOG,
            mapping={"version": version, "sha256": sha256, "doc": json.dumps(doc)},
        )
        pipeline.publish(keys.CHANGES, f"catalog {version}")
        pipeline.execute()
    return int(version)


def push_pending(connection: Connection[Any], redis: "Redis", *, past_kept_ms: int) -> int:
    """Send what is marked as not yet sent, a bounded number of pages; returns how much. Raises Redis' errors."""
    sent = 0
    for _ in range(PENDING_PAGES_MAX):
        with connection.transaction():
            rows = connection.execute(queries["control_unpushed"], {"limit": PAGE}).fetchall()
            _push_entitlements(connection, redis, rows, past_kept_ms)
            pending = connection.execute(queries["control_unpushed_keys"], {"limit": PAGE})
            digests = [row[0] for row in pending.fetchall()]
            _push_keys(connection, redis, digests)
        sent += len(rows) + len(digests)
        if len(rows) < PAGE and len(digests) < PAGE:
            break
    return sent


def publish_all(connection: Connection[Any], redis: "Redis", *, past_kept_ms: int) -> Published:
    """Send everything, keys first, for a Redis that may have lost some of it. Raises Redis' errors."""
    sent_keys = sent_entitlements = 0
    after = ""
    while True:
        with connection.transaction():
            page = connection.execute(
                queries["control_keys_page"], {"after": after, "limit": PAGE}
            ).fetchall()
            _push_keys(connection, redis, [row[0] for row in page])
        sent_keys += len(page)
        if len(page) < PAGE:
            break
        after = page[-1][0]
    catalog = push_catalog(connection, redis)
    after = ""
    while True:
        with connection.transaction():
            rows = connection.execute(
                queries["control_entitlements_page"], {"after": after, "limit": PAGE}
            ).fetchall()
            _push_entitlements(connection, redis, rows, past_kept_ms)
        sent_entitlements += len(rows)
        if len(rows) < PAGE:
            break
        after = rows[-1][0]
    return Published(entitlements=sent_entitlements, keys=sent_keys, catalog=catalog)


def _store_withdrawal(connection: Connection[Any], customer: str, *, at_ms: int) -> int | None:
    row = connection.execute(
        queries["control_newest_entitlement"], {"customer": customer}
    ).fetchone()
    if row is None:
        return None
    version = _next_version(connection)
    _store(connection, customer, version, None, at_ms=at_ms)
    return version


def _nothing(account: Account, version: int) -> Entitlement:
    """What a customer without a subscription may use: it is known, and that is all."""
    return Entitlement(
        customer=account.id,
        version=version,
        catalog=0,
        plan="",
        plan_name="",
        currency=account.currency or "",
        zone=account.zone,
        anchor_ms=0,
        starts_ms=0,
        ends_ms=0,
        period=Span("month"),
        suspended=account.suspended,
        features={},
    )


def _next_version(connection: Connection[Any]) -> int:
    row = connection.execute(queries["control_next_entitlement_version"]).fetchone()
    assert row is not None, "a sequence always has a next value"
    return int(row[0])


def _store(
    connection: Connection[Any], customer: str, version: int, doc: bytes | None, *, at_ms: int
) -> None:
    connection.execute(
        queries["control_add_entitlement"],
        {"customer": customer, "version": version, "doc": doc, "made_at": instant(at_ms)},
    )


def _push_entitlements(
    connection: Connection[Any],
    redis: "Redis",
    rows: Sequence[tuple[str, int, bytes | None]],
    past_kept_ms: int,
) -> None:
    """Send rows of (customer, version, doc) and mark them, and every older version, as sent."""
    if not rows:
        return
    script = load("entitle")
    pipeline = redis.pipeline(transaction=False)
    for customer, version, doc in rows:
        key, args = script.bind(
            entitlement=keys.entitlement(customer),
            past=keys.past_entitlements(customer),
            version=version,
            doc=doc or b"",
            keep_ms=past_kept_ms,
        )
        pipeline.eval(script.source, len(key), *key, *args)
        pipeline.publish(keys.CHANGES, f"customer {customer}")
    pipeline.execute()
    connection.execute(
        queries["control_mark_pushed"],
        {"customers": [row[0] for row in rows], "versions": [row[1] for row in rows]},
    )


def _push_keys(connection: Connection[Any], redis: "Redis", sha256s: Sequence[str]) -> None:
    if not sha256s:
        return
    found = connection.execute(
        queries["control_keys_locked"], {"sha256s": list(sha256s)}
    ).fetchall()
    live = {row[0]: row for row in found if not row[7]}
    pipeline = redis.pipeline(transaction=False)
    for sha256 in sha256s:
        key = keys.api_key(sha256)
        if sha256 in live:
            pipeline.hset(key, mapping=_key_fields(live[sha256]))
        else:
            pipeline.delete(key)
        pipeline.publish(keys.CHANGES, f"key {sha256}")
    pipeline.execute()
    connection.execute(queries["control_mark_keys_pushed"], {"sha256s": list(sha256s)})


def _key_fields(row: Sequence[Any]) -> dict[Any, Any]:
    """The hash of a key: lists are joined with spaces, each member percent-encoded."""
    _, key_id, kind, customer, scopes, customers, features, _ = row
    return {
        "id": key_id,
        "kind": kind,
        "customer": customer or "",
        "scopes": _joined(scopes),
        "customers": _joined(customers),
        "features": _joined(features),
    }


def _joined(members: Iterable[str]) -> str:
    return " ".join(quote(member, safe="") for member in members)
