"""How far the ledger is behind the log, what was lost, and whether everything still says the same."""

from typing import Any

from gateway.pricing.window import format_instant
from lua import keys
from reconciler.catalog_moves import last_push
from reconciler.clock import milliseconds
from reconciler.control.call import Answer, Call, Operation, Parts, choice_of
from reconciler.ledger import read_positions
from reconciler.metrics import DRIFT
from reconciler.server import BucketMeta, read_metas, server_of
from reconciler.sql import queries
from reconciler.verify import verify

LOSSES_MAX = 100
BEHIND_MAX = 100
"""Buckets behind the log that are listed; all are counted."""
COUNTED_MAX = 10_000
"""Entries of one bucket that are counted one by one where an epoch lies between."""


def get_reconciliation(parts: Parts, call: Call) -> Answer:
    """Lag, positions, losses and drift; with `verify=true` drift is looked for now."""
    asked = call.queries("verify")
    prove = choice_of(asked, "verify", ("true", "false"), "false") == "true"
    with parts.postgres() as connection:
        now_ms = parts.clock.now_ms(connection)
        with connection.transaction():
            positions = read_positions(connection)
            lost = connection.execute(queries["control_losses"], {"limit": LOSSES_MAX}).fetchall()
            unsent = connection.execute(queries["control_unpushed_counts"]).fetchone()
            push = last_push(connection)
        # After the positions: what is added meanwhile is lag, and never a ledger that is ahead.
        metas = read_metas(parts.redis, range(keys.BUCKETS))
        server = server_of(parts.redis)
        drift = verify(connection, parts.redis) if prove else None
    behind = [
        _behind(parts, bucket, (at.epoch, at.seq), metas[bucket])
        for bucket, at in sorted(positions.items())
        if bucket in metas and metas[bucket].seq
        if (metas[bucket].epoch, metas[bucket].seq) > (at.epoch, at.seq)
    ]
    oldest_ms = min((each["oldestMs"] for each in behind if each["oldestMs"]), default=now_ms)
    return Answer(
        body={
            "at": format_instant(now_ms),
            "lag": {
                "entries": sum(each["entries"] for each in behind),
                "milliseconds": max(0, now_ms - oldest_ms),
                "buckets": len(behind),
            },
            "buckets": {
                "total": keys.BUCKETS,
                "adopted": sum(meta.knows(server) for meta in metas.values()),
            },
            "behind": [_shown(each) for each in behind[:BEHIND_MAX]],
            "losses": [_loss(row) for row in lost],
            "notInRedis": {
                "entitlements": unsent[0] if unsent else 0,
                "keys": unsent[1] if unsent else 0,
            },
            "catalogMove": push
            and {
                "version": push.version,
                "existing": push.existing,
                "moved": push.moved,
                "done": push.done,
                "skipped": push.skipped,
            },
            "drift": None if drift is None else [_drift(each) for each in drift],
            "driftFound": _last_drift(),
        }
    )


def _behind(parts: Parts, bucket: int, at: tuple[int, int], meta: BucketMeta) -> dict[str, Any]:
    after = f"({at[0]}-{at[1]}"
    first: Any = parts.redis.xrange(keys.log(bucket), min=after, count=1)
    if meta.epoch == at[0]:
        entries = meta.seq - at[1]
    else:
        waiting: Any = parts.redis.xrange(keys.log(bucket), min=after, count=COUNTED_MAX)
        entries = len(waiting)
    return {
        "bucket": bucket,
        "ledger": f"{at[0]}-{at[1]}",
        "log": f"{meta.epoch}-{meta.seq}",
        "entries": entries,
        "oldestMs": int(first[0][1][b"t"]) if first else 0,
    }


def _shown(behind: dict[str, Any]) -> dict[str, Any]:
    oldest_ms = behind["oldestMs"]
    told = {name: value for name, value in behind.items() if name != "oldestMs"}
    return {**told, "oldest": format_instant(oldest_ms) if oldest_ms else None}


def _loss(row: Any) -> dict[str, Any]:
    found_at, bucket, epoch, from_seq, to_seq, note = row
    return {
        "foundAt": format_instant(milliseconds(found_at)),
        "bucket": bucket,
        "epoch": epoch,
        "fromSeq": from_seq,
        "toSeq": to_seq,
        "note": note,
    }


def _drift(found: Any) -> dict[str, str]:
    return {"kind": found.kind, "where": found.where, "message": found.message}


def _last_drift() -> dict[str, int]:
    """How many differences of each kind the last round of the loop in this process found."""
    return {
        sample.labels["kind"]: int(sample.value)
        for metric in DRIFT.collect()
        for sample in metric.samples
        if "kind" in sample.labels
    }


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/reconciliation",
        endpoint=get_reconciliation,
        summary="Lag, positions, losses, drift",
        scope="read",
        query={
            "verify": "true: prove counter, log, ledger and invoices now, which reads all of them"
        },
    ),
)
