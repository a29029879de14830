"""Ships denials from Redis to Postgres, where they are kept for a while. They are support material, never billed."""

import json
from collections.abc import Mapping
from typing import Any

import structlog
from psycopg import Connection
from redis import Redis

from lua import keys
from reconciler.entry import storable
from reconciler.ledger import time_of
from reconciler.sql import queries

log = structlog.get_logger(__name__)

STREAM_MAX = 200
"""Denials of one bucket shipped in one round; the rest follow in the next."""

Shipped = dict[str, list[Any]]


def ship_denials(connection: Connection[Any], redis: "Redis") -> int:
    """Copy what is waiting and take it out of Redis; returns how many there were.

    Dying in between ships some of them again, which their ids make a no-op.
    """
    streams: dict[Any, Any] = {keys.denied(bucket): "0-0" for bucket in range(keys.BUCKETS)}
    reply: Any = redis.xread(streams, count=STREAM_MAX)
    found = dict(reply.items() if isinstance(reply, Mapping) else reply or ())
    if not found:
        return 0
    columns: Shipped = {
        name: [] for name in ("id", "at", "customer", "feature", "quantity", "reason", "doc")
    }
    for entries in found.values():
        for entry_id, fields in entries:
            _add(columns, entry_id, fields)
    with connection.transaction():
        connection.execute(queries["add_denials"], columns)
    pipeline = redis.pipeline(transaction=False)
    for stream, entries in found.items():
        pipeline.xdel(stream, *[entry_id for entry_id, _ in entries])
    pipeline.execute()
    return sum(len(entries) for entries in found.values())


def forget_denials(connection: Connection[Any], *, before_ms: int) -> None:
    """Delete denials from before an instant."""
    with connection.transaction():
        connection.execute(queries["forget_denials"], {"before": time_of(before_ms)})


def _add(columns: Shipped, entry_id: bytes, fields: Mapping[bytes, bytes]) -> None:
    try:
        text = {name.decode(): value.decode() for name, value in fields.items()}
        values = {
            "id": text["id"],
            "at": time_of(int(text["t"])),
            "customer": text["c"],
            "feature": text["feature"],
            "quantity": int(text["q"]),
            "reason": text["reason"],
            "doc": json.dumps(storable(json.loads(text["doc"]))),
        }
    except (KeyError, ValueError) as error:
        log.warning("a denial cannot be read", entry=entry_id.decode(), why=repr(error))
        return
    for name, value in values.items():
        columns[name].append(value)
