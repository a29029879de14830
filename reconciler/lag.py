"""How far the ledger is behind the log, and how long Redis has room."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from redis import Redis

from lua import keys
from reconciler import metrics
from reconciler.batch import Position
from reconciler.server import BucketMeta

COUNTED_MAX = 10_000
"""Entries of a bucket that are counted one by one, when an epoch lies between."""
FILL_WINDOW_MS = 300_000
"""The rate at which Redis fills is taken over so long."""


def measure_lag(
    redis: "Redis",
    positions: Mapping[int, Position],
    metas: Mapping[int, BucketMeta],
    now_ms: int,
) -> None:
    """Set the lag metrics. Read `metas` after `positions`."""
    entries, behind = 0, []
    for bucket, meta in metas.items():
        position = positions[bucket]
        if (meta.epoch, meta.seq) <= (position.epoch, position.seq) or meta.seq == 0:
            continue
        behind.append(position)
        if meta.epoch == position.epoch:
            entries += meta.seq - position.seq
        else:
            after = f"({position.epoch}-{position.seq}"
            waiting: Any = redis.xrange(keys.log(bucket), min=after, count=COUNTED_MAX)
            entries += len(waiting)
    metrics.LAG_ENTRIES.set(entries)
    metrics.LAG_SECONDS.set(_oldest_ms(redis, behind, now_ms) / 1000)


def _oldest_ms(redis: "Redis", behind: list[Position], now_ms: int) -> int:
    """The age of the oldest entry that waits, by the time the decisions carry."""
    pipeline = redis.pipeline(transaction=False)
    for position in behind:
        after = f"({position.epoch}-{position.seq}"
        pipeline.xrange(keys.log(position.bucket), min=after, count=1)
    ages = [now_ms - int(page[0][1][b"t"]) for page in pipeline.execute() if page]
    return max([0, *ages])


class FillRate:
    """How fast Redis has been filling."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque()

    def measure(self, redis: "Redis", at_ms: int) -> None:
        """Set the metric from the memory in use now and a while ago. `at_ms` is real time."""
        memory: Any = redis.info("memory")
        used, limit = int(memory["used_memory"]), int(memory.get("maxmemory") or 0)
        self._seen.append((at_ms, used))
        while at_ms - self._seen[0][0] > FILL_WINDOW_MS:
            self._seen.popleft()
        then_ms, then = self._seen[0]
        if not limit or used <= then or at_ms <= then_ms:
            metrics.REDIS_FULL_SECONDS.set(math.inf if not limit or used < limit else 0)
            return
        left_ms = (limit - used) * (at_ms - then_ms) // (used - then)
        metrics.REDIS_FULL_SECONDS.set(max(0, left_ms) // 1000)
