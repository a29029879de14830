"""Trims the log: only what Postgres has, and only once it has had it for as long as entries are to be kept.

A log that is kept a while lets a Postgres restored from a backup read again what the backup did not have.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

from psycopg import Connection
from redis import Redis

from lua import keys
from reconciler.batch import Position
from reconciler.ledger import time_of
from reconciler.sql import queries

STEPS_A_RETENTION = 16
"""How finely it is remembered when a position was reached."""

Place = tuple[int, int]


class Trimmer:
    """Remembers when Postgres had reached which place of a log, and trims behind it.

    `at_ms` is a clock that never steps back and that only this process reads.
    """

    def __init__(self, redis: "Redis", *, retention_ms: int) -> None:
        self._redis = redis
        self._retention_ms = retention_ms
        self._reached: dict[int, deque[tuple[int, Place]]] = {}

    def start(
        self,
        connection: Connection[Any],
        positions: Mapping[int, Position],
        *,
        at_ms: int,
        now_ms: int,
    ) -> None:
        """Learn from the ledger what was decided, by the clock of decisions, long enough before `now_ms`."""
        long_ago_ms = now_ms - self._retention_ms
        with connection.transaction():
            found = connection.execute(
                queries["copied_before"],
                {
                    "buckets": [b for b, position in positions.items() if position.epoch],
                    "at": time_of(max(0, long_ago_ms)),
                },
            ).fetchall()
        for bucket, epoch, seq in found:
            self._reached[bucket] = deque([(at_ms - self._retention_ms, (epoch, seq))])

    def note(self, positions: Mapping[int, Position], at_ms: int) -> None:
        """Positions as Postgres has them now."""
        step_ms = self._retention_ms // STEPS_A_RETENTION
        for bucket, position in positions.items():
            place = (position.epoch, position.seq)
            if place == (0, 0):
                continue
            steps = self._reached.setdefault(bucket, deque())
            if not steps or (steps[-1][1] != place and at_ms - steps[-1][0] >= step_ms):
                steps.append((at_ms, place))

    def trim(self, positions: Mapping[int, Position], at_ms: int) -> int:
        """Delete what is old enough, never past a position; returns how many entries went."""
        pipeline = self._redis.pipeline(transaction=False)
        for bucket, steps in self._reached.items():
            old: Place | None = None
            while steps and steps[0][0] <= at_ms - self._retention_ms:
                _, old = steps.popleft()
            position = positions.get(bucket)
            if old is None or position is None:
                continue
            epoch, seq = min(old, (position.epoch, position.seq))
            pipeline.xtrim(keys.log(bucket), minid=f"{epoch}-{seq + 1}", approximate=False)
        return sum(int(count) for count in pipeline.execute())
