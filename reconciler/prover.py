"""Proves all the time, a slice of the buckets at a time, what `tallygate verify` proves at once."""

from collections import Counter
from collections.abc import Callable
from threading import Event
from typing import Any

import psycopg
import structlog
from psycopg import Connection
from redis import Redis, RedisError

from lua import keys
from reconciler import metrics
from reconciler.drift import KINDS, Drift
from reconciler.verify import verify_books, verify_buckets

log = structlog.get_logger(__name__)

SLICES = 16
"""A round proves every bucket once, in so many steps, and then the books."""
TOLD_MAX = 20
"""Differences of one step that are logged; all are counted."""


class Prover:
    """Keeps the drift metric: what the last round found, by kind."""

    def __init__(
        self, redis: "Redis", connect: Callable[[], Connection[Any]], *, interval_ms: int
    ) -> None:
        self._redis, self._connect = redis, connect
        self._pause_ms = max(1, interval_ms // (SLICES + 1))
        self._found: dict[int, Counter[str]] = {}

    def run(self, stop: Event) -> None:
        """Until `stop`. A store that is away costs a step, no more."""
        self._publish()
        step = 0
        while not stop.wait(self._pause_ms / 1000):
            try:
                self.step(step)
            except (psycopg.Error, RedisError) as error:
                log.warning("drift cannot be looked for now", error=repr(error))
            step = (step + 1) % (SLICES + 1)

    def step(self, step: int) -> list[Drift]:
        """Prove one slice, or the books after the last one."""
        with self._connect() as connection:
            if step == SLICES:
                drift = verify_books(connection)
            else:
                buckets = range(step, keys.BUCKETS, SLICES)
                drift = verify_buckets(connection, self._redis, buckets)
        for each in drift[:TOLD_MAX]:
            log.error("drift", kind=each.kind, where=each.where, message=each.message)
        self._found[step] = Counter(each.kind for each in drift)
        self._publish()
        return drift

    def _publish(self) -> None:
        for kind in KINDS:
            metrics.DRIFT.labels(kind).set(sum(found[kind] for found in self._found.values()))
