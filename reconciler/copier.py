"""The loop that copies the decision log to Postgres.

Read behind the positions that Postgres has, add rows and positions in one transaction, again. Whatever happens
between two steps, the next round starts from Postgres, so nothing is copied twice and nothing is left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from psycopg import Connection, DataError, IntegrityError
from redis import Redis

from lua import keys
from reconciler import metrics
from reconciler.batch import Batch, Position, gather
from reconciler.entry import EntryUnreadable
from reconciler.ledger import post, read_epoch_ends, read_positions

log = structlog.get_logger(__name__)

STUCK_MS = 60_000
"""How long a bucket whose next entry cannot be copied is left alone before it is tried again."""

Entries = list[tuple[bytes, Mapping[bytes, bytes]]]


class Copier:
    """Copies what is new, a bounded batch at a time; keeps positions only to know where to read."""

    def __init__(self, redis: "Redis", *, batch_entries_max: int) -> None:
        self._redis = redis
        self._batch_entries_max = batch_entries_max
        self._stuck_until_ms: dict[int, int] = {}
        self.positions: dict[int, Position] = {}

    def refresh(self, connection: Connection[Any]) -> None:
        """Take the positions from Postgres, which may have moved on or, after a restore, back."""
        self.positions = read_positions(connection)

    def copy(self, connection: Connection[Any], *, now_ms: int, wait_ms: int = 0) -> int:
        """Copy one batch; returns how many entries it had, 0 when there was nothing new in `wait_ms`.

        Raises the errors of psycopg and redis when one of them is away; nothing is half done then.
        """
        if not self.positions:
            self.refresh(connection)
        batches = self._gather(connection, self._read(now_ms, wait_ms), now_ms)
        if not batches:
            return 0
        posted = self._post(connection, batches, now_ms)
        self.positions |= posted
        if len(posted) < len(batches):
            self.refresh(connection)
        done = [batch for batch in batches if batch.position.bucket in posted]
        for loss in (loss for batch in done for loss in batch.losses):
            metrics.LOSSES.inc()
            log.error("log entries lost", **_described(loss))
        entries = sum(batch.entries for batch in done)
        metrics.ENTRIES.inc(entries)
        return entries

    def _read(self, now_ms: int, wait_ms: int) -> dict[int, Entries]:
        """New entries by bucket, about `batch_entries_max` in all: first who has any, then a fair share of each."""
        self._stuck_until_ms = {b: at for b, at in self._stuck_until_ms.items() if at > now_ms}
        metrics.STUCK_BUCKETS.set(len(self._stuck_until_ms))
        behind = {
            keys.log(bucket).encode(): position
            for bucket, position in self.positions.items()
            if bucket not in self._stuck_until_ms
        }
        if not behind:
            return {}
        found = self._xread(behind, behind, count=1, block_ms=wait_ms)
        if not found:
            return {}
        share = max(1, self._batch_entries_max // len(found))
        chosen = list(found)[: self._batch_entries_max]
        if share > 1:
            found = self._xread(behind, chosen, count=share, block_ms=0)
        return {behind[key].bucket: found[key] for key in chosen if key in found}

    def _xread(
        self,
        behind: Mapping[bytes, Position],
        chosen: Iterable[bytes],
        *,
        count: int,
        block_ms: int,
    ) -> dict[bytes, Entries]:
        places: dict[Any, Any] = {key: f"{behind[key].epoch}-{behind[key].seq}" for key in chosen}
        reply: Any = self._redis.xread(places, count=count, block=block_ms or None)
        return dict(reply.items() if isinstance(reply, Mapping) else reply or ())

    def _gather(
        self, connection: Connection[Any], found: Mapping[int, Entries], now_ms: int
    ) -> list[Batch]:
        crossing = [
            bucket
            for bucket, entries in found.items()
            if int(entries[-1][0].split(b"-")[0]) > self.positions[bucket].epoch
        ]
        ends = read_epoch_ends(connection, crossing) if crossing else {}
        batches = []
        for bucket, entries in found.items():
            try:
                batch = gather(self.positions[bucket], entries, ends.get(bucket, {}))
            except EntryUnreadable as error:
                self._leave(bucket, now_ms, error)
                continue
            if batch.entries:
                batches.append(batch)
        return batches

    def _post(
        self, connection: Connection[Any], batches: Sequence[Batch], now_ms: int
    ) -> dict[int, Position]:
        """All in one transaction; when Postgres refuses a value, one by one, so that one bucket stops and not all."""
        try:
            return post(connection, batches, now_ms)
        except (DataError, IntegrityError) as error:
            if len(batches) == 1:
                self._leave(batches[0].position.bucket, now_ms, error)
                return {}
        posted: dict[int, Position] = {}
        for batch in batches:
            posted |= self._post(connection, [batch], now_ms)
        return posted

    def _leave(self, bucket: int, now_ms: int, error: Exception) -> None:
        self._stuck_until_ms[bucket] = now_ms + STUCK_MS
        log.error("a bucket cannot be copied", bucket=bucket, retry_ms=STUCK_MS, why=str(error))


def _described(loss: Any) -> dict[str, Any]:
    return {name: getattr(loss, name) for name in ("bucket", "epoch", "from_seq", "to_seq", "note")}
