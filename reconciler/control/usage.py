"""Usage: what a customer used, by hour or day of their own zone, from the ledger's sums."""

from decimal import Decimal
from typing import Any

from psycopg import Connection

from gateway.pricing.money import format_decimal, format_quantity
from gateway.pricing.window import format_instant
from reconciler.catalog_moves import live_version
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
from reconciler.phases import account_of, catalog_of
from reconciler.sql import queries

FROM_DEFAULT_MS = 31 * 86_400_000
"""How far back the rows go when `from` is not given."""


def get_usage(parts: Parts, call: Call) -> Answer:
    """Rows of one feature and one hour or day each, oldest first."""
    asked = call.queries("from", "to", "by", "feature", "limit", "after")
    customer, limit = call.customer, limit_of(asked)
    by = choice_of(asked, "by", ("hour", "day"), "day")
    after: list[Any] = [0, ""]
    if "after" in asked:
        after = read_cursor(asked["after"], int, str)
    with parts.postgres() as connection, connection.transaction():
        account = account_of(connection, customer)
        if account is None:
            raise NotFound(f"There is no customer {customer!r}.")
        now_ms = parts.clock.now_ms(connection)
        to_ms = instant_of(asked, "to", now_ms + 1)
        from_ms = instant_of(asked, "from", max(0, to_ms - FROM_DEFAULT_MS))
        if from_ms > to_ms:
            raise Invalid.at("?from", "from must not be after to.")
        rows = connection.execute(
            queries["control_usage"],
            {
                "customer": customer,
                "feature": asked.get("feature"),
                "by": by,
                "zone": account.zone,
                "from": instant(from_ms),
                "to": instant(to_ms),
                "after": instant(after[0]),
                "after_feature": after[1],
                "limit": limit + 1,
            },
        ).fetchall()
        scales = _scales(connection, {row[1] for row in rows})
    return answer_page(
        rows,
        limit,
        lambda row: cursor(milliseconds(row[0]), row[1]),
        shown=lambda row: _plain(row, scales.get(row[1], 0)),
    )


def _scales(connection: Connection[Any], features: set[str]) -> dict[str, int]:
    """The scale of each feature, which never changes once a catalog has given it."""
    version = live_version(connection)
    live = {} if version is None else catalog_of(connection, version).features
    if features <= live.keys():
        return {name: feature.scale for name, feature in live.items()}
    rows = connection.execute(queries["control_feature_scales"]).fetchall()
    return {feature: int(scale or 0) for feature, scale in rows}


def _plain(row: Any, scale: int) -> dict[str, Any]:
    start, feature, used, included, rollover, credits, overage, denied, cost = row

    def shown(base: Any) -> int | str:
        return format_quantity(int(base), scale)

    return {
        "start": format_instant(milliseconds(start)),
        "feature": feature,
        "used": shown(used),
        "included": shown(included),
        "rollover": shown(rollover),
        "credits": shown(credits),
        "overage": shown(overage),
        "denied": int(denied),
        "cost": format_decimal(Decimal(cost)),
    }


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/customers/{customer}/usage",
        endpoint=get_usage,
        summary="Usage by hour or day of the customer's zone, with the number of denials",
        scope="read",
        query={
            "from": "RFC 3339; 31 days before `to` unless given",
            "to": "RFC 3339, exclusive; now unless given",
            "by": "day (default) or hour",
            "feature": "only this one",
            "limit": "rows, 1 to 1000",
            "after": "the cursor that an answer called next",
        },
    ),
)
