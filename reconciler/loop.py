"""The loop: adopt the server, copy the log, tidy up, again; through stores that come and go."""

import random
import time
from collections.abc import Callable
from functools import partial
from threading import Event
from typing import Any

import psycopg
import structlog
from psycopg import Connection
from redis import Redis, RedisError

from lua import keys
from reconciler import metrics
from reconciler.adoption import Adopted, AdoptionRefused, adopt, take_asked
from reconciler.clock import Clock
from reconciler.copier import Copier
from reconciler.denials import forget_denials, ship_denials
from reconciler.lag import FillRate, measure_lag
from reconciler.publisher import publish_all, push_pending
from reconciler.server import BucketMeta, read_metas, server_of
from reconciler.settings import Settings
from reconciler.trimming import Trimmer

log = structlog.get_logger(__name__)

READ_WAIT_MS = 100
"""How long a read waits for something new; a gateway that asks for adoption waits for it about twice."""
PACE_MS = 20
"""The pause after a batch that was not full: fewer and larger transactions."""
LOOK_EVERY_MS = 1_000
TIDY_EVERY_MS = 15_000
RETRY_MIN_MS = 100
RETRY_MAX_MS = 5_000
RETRY_JITTER = 4
"""A pause is shortened by up to one part in so many, so that several reconcilers do not move in step."""
DRAIN_BATCHES_MAX = 1_000_000
"""Batches of one `once`; a log that grows faster than it is read must not hold it for ever."""

Connect = Callable[[], Connection[Any]]


class Loop:
    """Everything that happens without being asked for, one thing at a time, on one connection."""

    def __init__(self, settings: Settings, redis: "Redis", connect: Connect) -> None:
        self._settings, self._redis, self._connect = settings, redis, connect
        self._clock = Clock(test_clock=settings.test_clock)
        self._copier = Copier(redis, batch_entries_max=settings.batch_entries_max)
        self._trimmer = Trimmer(redis, retention_ms=settings.log_retention_ms)
        self._fill = FillRate()
        self._publish = partial(publish_all, past_kept_ms=settings.past_kept_ms)
        self._offset_ms = 0
        self._looked_ms = self._tidied_ms = 0
        self.adopted = Event()
        """Set once the first adoption is done."""
        self._closed: set[int] = set()
        """Buckets that could not be adopted; they are tried again now and then."""

    def run(self, stop: Event) -> None:
        """Until `stop`; a batch that has begun is finished. A store that is away is tried again and again."""
        failures = 0
        while not stop.is_set():
            try:
                with self._connect() as connection:
                    self.start(connection)
                    while not stop.is_set():
                        if 0 < self.round(connection) < self._settings.batch_entries_max:
                            stop.wait(PACE_MS / 1000)
                        failures = 0
            except (psycopg.Error, RedisError, AdoptionRefused) as error:
                failures += 1
                metrics.OUTAGES.labels(_store_of(error)).inc()
                pause_ms = retry_pause_ms(failures)
                log.warning(
                    "a store is away", error=repr(error), failures=failures, retry_ms=pause_ms
                )
                stop.wait(pause_ms / 1000)

    def once(self) -> int:
        """Adopt, copy everything there is, ship denials, and end; returns how many entries were copied.

        Raises the errors of psycopg and redis.
        """
        copied = 0
        with self._connect() as connection:
            self.start(connection)
            for _ in range(DRAIN_BATCHES_MAX):
                batch = self._copier.copy(connection, now_ms=self._now_ms())
                copied += batch
                if not batch:
                    break
            ship_denials(connection, self._redis)
        return copied

    def start(self, connection: Connection[Any]) -> None:
        """What a new connection, to either store, makes necessary."""
        self._looked_ms = self._tidied_ms = 0
        self._offset_ms = self._clock.offset_ms(connection)
        self.adopt(connection)
        self._copier.refresh(connection)
        self._trimmer.start(
            connection, self._copier.positions, at_ms=_monotonic_ms(), now_ms=self._now_ms()
        )

    def round(self, connection: Connection[Any]) -> int:
        """One turn; returns how many entries were copied."""
        if take_asked(self._redis):
            self.adopt(connection)
        at_ms = _monotonic_ms()
        if at_ms - self._looked_ms >= LOOK_EVERY_MS:
            self._looked_ms = at_ms
            self._look(connection)
        if at_ms - self._tidied_ms >= TIDY_EVERY_MS:
            self._tidied_ms = at_ms
            self._tidy(connection)
        return self._copier.copy(connection, now_ms=self._now_ms(), wait_ms=READ_WAIT_MS)

    def adopt(self, connection: Connection[Any], forced: frozenset[int] = frozenset()) -> Adopted:
        """Adopt what needs it; positions are read again, for their generations have moved."""
        done = adopt(
            connection,
            self._redis,
            publish=self._publish,
            offset_ms=self._offset_ms,
            now_ms=self._now_ms(),
            forced=forced,
            without=self._closed,
        )
        self._closed |= set(done.refused)
        self.adopted.set()
        if done.buckets:
            self._copier.refresh(connection)
        return done

    def _look(self, connection: Connection[Any]) -> None:
        """Is this still the server we adopted, and does it still have what we copied?"""
        self._offset_ms = self._clock.offset_ms(connection)
        self._copier.refresh(connection)
        server = server_of(self._redis)
        metas = read_metas(self._redis, range(keys.BUCKETS))
        behind = self._behind(metas)
        unknown = {bucket for bucket, meta in metas.items() if not meta.knows(server)}
        if behind - self._closed or unknown - self._closed:
            self.adopt(connection, behind)
        push_pending(connection, self._redis, past_kept_ms=self._settings.past_kept_ms)
        ship_denials(connection, self._redis)
        measure_lag(self._redis, self._copier.positions, metas, self._now_ms())
        self._trimmer.note(self._copier.positions, _monotonic_ms())

    def _behind(self, metas: dict[int, BucketMeta]) -> frozenset[int]:
        """Buckets that decide on, though Redis has lost entries that Postgres has. The positions are the older reading."""
        positions = self._copier.positions
        return frozenset(
            bucket
            for bucket, meta in metas.items()
            if (meta.epoch, meta.seq) < (positions[bucket].epoch, positions[bucket].seq)
        )

    def _tidy(self, connection: Connection[Any]) -> None:
        self._closed.clear()
        self._trimmer.trim(self._copier.positions, _monotonic_ms())
        self._fill.measure(self._redis, self._clock.real_ms())
        before_ms = self._now_ms() - self._settings.denial_retention_ms
        forget_denials(connection, before_ms=before_ms)

    def _now_ms(self) -> int:
        return self._clock.real_ms() + self._offset_ms


def retry_pause_ms(failures: int) -> int:
    """How long to wait after so many failures in a row: doubling, bounded, jittered."""
    pause_ms = min(RETRY_MAX_MS, RETRY_MIN_MS * (1 << min(failures - 1, 16)))
    return pause_ms - random.randrange(pause_ms // RETRY_JITTER)


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _store_of(error: Exception) -> str:
    return "postgres" if isinstance(error, psycopg.Error) else "redis"
