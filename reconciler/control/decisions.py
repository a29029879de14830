"""Decisions: history and receipts, the allowed from the ledger and the denied from what is kept of them."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from redis import Redis

from gateway.pricing.entitlement import Entitlement
from gateway.pricing.money import NANO_SCALE, format_decimal, format_quantity
from gateway.pricing.window import format_instant
from lua import keys
from reconciler.billing import read_entitlement
from reconciler.clock import instant, milliseconds
from reconciler.control.call import (
    Answer,
    Call,
    Operation,
    Parts,
    choice_of,
    instant_of,
    limit_of,
)
from reconciler.control.errors import Invalid, NotFound
from reconciler.control.pages import answer_page, cursor, read_cursor
from reconciler.entry import Row, decode
from reconciler.phases import account_of
from reconciler.sql import queries

FROM_DEFAULT_MS = 31 * 86_400_000
"""How far back the rows go when `from` is not given."""
_ROW_NAMES = (
    "verb", "customer", "feature", "quantity", "included", "rollover", "credits", "overage", "beyond",
    "segment", "used_after", "entitlement", "plan", "catalog", "source", "stamp",
)  # fmt: skip
_ALLOWED_ID = re.compile(r"(\d{4})-(\d{1,15})-(\d{1,15})")
_DENIED_ID = re.compile(r"d-[A-Za-z0-9_-]{1,80}")


def list_decisions(parts: Parts, call: Call) -> Answer:
    """Decisions of a customer, the newest first."""
    asked = call.queries("allowed", "feature", "reason", "from", "to", "limit", "after")
    customer, limit = call.customer, limit_of(asked)
    allowed = choice_of(asked, "allowed", ("true", "false", ""), "")
    after = read_cursor(asked["after"], int, str) if "after" in asked else None
    reason = asked.get("reason")
    with parts.postgres() as connection, connection.transaction():
        if account_of(connection, customer) is None:
            raise NotFound(f"There is no customer {customer!r}.")
        to_ms = instant_of(asked, "to", parts.clock.now_ms(connection) + 1)
        from_ms = instant_of(asked, "from", max(0, to_ms - FROM_DEFAULT_MS))
        if from_ms > to_ms:
            raise Invalid.at("?from", "from must not be after to.")
        cursor_ = connection.cursor(row_factory=dict_row)
        rows = cursor_.execute(
            queries["control_decisions"],
            {
                "customer": customer,
                "feature": asked.get("feature"),
                "allowed": {"true": True, "false": False}.get(allowed),
                "reason": "included" if reason == "unlimited" else reason,
                "from": instant(from_ms),
                "to": instant(to_ms),
                "before": None if after is None else instant(after[0]),
                "before_id": None if after is None else after[1],
                "limit": limit + 1,
            },
        ).fetchall()
        entitlements = _entitlements(connection, rows)
    page = answer_page(
        rows, limit, lambda row: cursor(milliseconds(row["at"]), row["rank"]), shown=dict
    )
    shown = [_shown(row, entitlements) for row in page.body["data"]]
    # What was unlimited is included in the ledger too; only the entitlement tells them apart.
    kept = [each for each in shown if reason is None or each["reason"] == reason]
    return Answer(body={"data": kept, "next": page.body["next"]})


def get_decision(parts: Parts, call: Call) -> Answer:
    """One decision by its id: `0042-17-9983`, or `d-…` for a denial."""
    call.queries()
    decision = call.part("id")
    with parts.postgres() as connection, connection.transaction():
        rows = _rows_of(connection, decision) or _rows_of_log(parts.redis, decision)
        entitlements = _entitlements(connection, rows)
    if not rows:
        raise NotFound(
            "There is no such decision: its id is unknown, or it is not in the ledger yet, "
            "or it is a denial older than 30 days."
        )
    shown = [_shown(row, entitlements) for row in rows]
    if len(shown) == 1:
        return Answer(body=shown[0])
    return Answer(
        body={
            "decision": decision,
            "allowed": True,
            "httpStatus": 200,
            "customer": shown[0]["customer"],
            "at": shown[0]["at"],
            "items": shown,
        }
    )


def _rows_of(connection: Connection[Any], decision: str) -> list[dict[str, Any]]:
    reader = connection.cursor(row_factory=dict_row)
    if found := _ALLOWED_ID.fullmatch(decision):
        bucket, epoch, seq = (int(part) for part in found.groups())
        return reader.execute(
            queries["control_decision"], {"bucket": bucket, "epoch": epoch, "seq": seq}
        ).fetchall()
    if _DENIED_ID.fullmatch(decision):
        return reader.execute(queries["control_denial"], {"id": decision}).fetchall()
    return []


def _rows_of_log(redis: "Redis", decision: str) -> list[dict[str, Any]]:
    """A decision that the ledger does not have yet, from the log."""
    found = _ALLOWED_ID.fullmatch(decision)
    if found is None or int(found.group(1)) >= keys.BUCKETS:
        return []
    bucket, place = int(found.group(1)), f"{int(found.group(2))}-{int(found.group(3))}"
    entries: Any = redis.xrange(keys.log(bucket), min=place, max=place)
    return [
        {
            **{name: getattr(row, name) for name in _ROW_NAMES},
            "decision": decision,
            "reason": _reason(row),
            "at": instant(row.at_ms),
            "cost": Decimal(row.cost_nano).scaleb(-NANO_SCALE),
            "period_start": instant(row.period_start_ms),
            "period_end": instant(row.period_end_ms),
            "doc": None,
        }
        for entry_id, entry in entries
        for row in decode(bucket, entry_id, entry)
    ]


def _reason(row: Row) -> str:
    """The last source of the waterfall that was used."""
    if row.beyond:
        return "observed" if row.verb == "consume" else "recorded"
    return next(
        (name for name in ("overage", "credits", "rollover") if getattr(row, name)), "included"
    )


def _entitlements(
    connection: Connection[Any], rows: Sequence[Mapping[str, Any]]
) -> dict[tuple[str, int], Entitlement]:
    """What the rows were decided under, by customer and version."""
    versions = {row["entitlement"] for row in rows if row["entitlement"] is not None}
    if not versions:
        return {}
    found = connection.execute(
        queries["control_entitlements_by_version"], {"versions": list(versions)}
    )
    return {
        (customer, version): read_entitlement(doc)
        for customer, version, doc in found
        if doc is not None
    }


def _shown(
    row: Mapping[str, Any], entitlements: Mapping[tuple[str, int], Entitlement]
) -> dict[str, Any]:
    at_ms = milliseconds(row["at"])
    if row["doc"] is not None:
        told = {"decision": row["decision"], "at": format_instant(at_ms), "allowed": False}
        return {**row["doc"], **told, "reason": row["reason"]}
    entitlement = entitlements.get((row["customer"], row["entitlement"]))
    current = None if entitlement is None else entitlement.at(at_ms)
    feature = None if current is None else current.features.get(row["feature"])
    scale = 0 if feature is None else feature.scale
    reason = row["reason"]
    if reason == "included" and feature is not None and feature.included is None:
        reason = "unlimited"
    sources = {
        name: format_quantity(row[name], scale)
        for name in ("included", "rollover", "credits", "overage")
    }
    if row["beyond"]:
        sources["beyond"] = format_quantity(row["beyond"], scale)
    start, end = milliseconds(row["period_start"]), milliseconds(row["period_end"])
    return {
        "decision": row["decision"],
        "at": format_instant(at_ms),
        "verb": row["verb"],
        "allowed": True,
        "reason": reason,
        "httpStatus": 200,
        "customer": row["customer"],
        "feature": row["feature"],
        "quantity": format_quantity(row["quantity"], scale),
        "sources": sources,
        "cost": format_decimal(Decimal(row["cost"])),
        "currency": None if current is None else current.currency,
        "used": format_quantity(row["used_after"], scale),
        "plan": row["plan"],
        "catalog": row["catalog"],
        "entitlement": row["entitlement"],
        "period": {"start": format_instant(start), "end": format_instant(end)},
        "segment": row["segment"],
        "key": row["source"],
        **row["stamp"],
    }


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/customers/{customer}/decisions",
        endpoint=list_decisions,
        summary="Decisions, the newest first; denials are kept 30 days",
        scope="read",
        query={
            "allowed": "true or false; both unless given",
            "feature": "only this one",
            "reason": "only this one",
            "from": "RFC 3339; 31 days before `to` unless given",
            "to": "RFC 3339, exclusive; now unless given",
            "limit": "rows, 1 to 1000",
            "after": "the cursor that an answer called next",
        },
    ),
    Operation(
        method="GET",
        path="/v1/decisions/{id}",
        endpoint=get_decision,
        summary="The receipt of one decision",
        scope="read",
    ),
)
