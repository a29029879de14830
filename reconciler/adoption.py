"""Adoption: make a Redis server the one on which buckets decide, after a start, a failover or a loss.

Postgres comes first: raising every generation stops a reconciler that was paused in the middle of a batch, and tells
how far the ledger goes. Then entitlements and keys are put in force, counters that Redis forgot are counted again from
the ledger, and last of all each bucket gets a new epoch, which opens it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from psycopg import Connection
from redis import Redis

from lua import keys, load
from lua.reply import Adoption
from reconciler import metrics
from reconciler.batch import Loss
from reconciler.ledger import add_loss, time_of
from reconciler.rebuild import RebuildTooLarge, rebuild_bucket
from reconciler.recount import EntitlementMissing
from reconciler.server import BucketMeta, RedisServer, read_metas, server_of
from reconciler.sql import queries

log = structlog.get_logger(__name__)

LOCK_KEY = 0x7461_6C6C_7902
"""The advisory lock that keeps two adopters apart."""
ROUNDS_MAX = 4
"""A bucket may be behind the ledger, then need a larger epoch than a restored Postgres knows; no more than that."""

Publish = Callable[[Connection[Any], "Redis"], object]


class AdoptionRefused(Exception):
    """The server cannot be adopted; no bucket of it was opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPlace:
    """How far Postgres has copied a bucket, and the newest epoch it was given."""

    epoch: int
    seq: int
    adopted_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A bucket's new epoch, and where its log stood before."""

    epoch: int
    previous_epoch: int
    previous_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What one adoption did; empty when there was nothing to do."""

    buckets: tuple[int, ...] = ()
    rebuilt: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    busy: bool = False
    """Another reconciler is adopting; look again."""


def adopt(
    connection: Connection[Any],
    redis: "Redis",
    *,
    publish: Publish,
    offset_ms: int,
    now_ms: int,
    forced: Collection[int] = (),
    without: Collection[int] = (),
) -> Adopted:
    """Adopt every bucket that does not know this server, and those that are to be adopted anyway.

    `forced` are buckets that know it and have lost entries all the same; `without` are left as they are. `offset_ms` is how far the test clock is ahead, `now_ms` the time with it. `connection` must be in autocommit.
    Raises AdoptionRefused, and the errors of psycopg and redis; doing it again is always safe.
    """
    server = server_of(redis)
    metas = read_metas(redis, range(keys.BUCKETS))
    wanted = [
        b
        for b, meta in metas.items()
        if b not in without and (b in forced or not meta.knows(server))
    ]
    if not wanted:
        return Adopted()
    with _adoption_lock(connection) as locked:
        if not locked:
            return Adopted(busy=True)
        publish(connection, redis)
        places = _raise_generations(connection, wanted)
        _fence(redis, [b for b in wanted if metas[b].run_id])
        work = _Adoption(connection, redis, server, offset_ms=offset_ms, now_ms=now_ms)
        work.run(places)
        work.lose_forgotten(places, metas)
        _note(connection, work.opened, server, now_ms)
    metrics.ADOPTED_BUCKETS.inc(len(work.opened))
    log.info(
        "adopted",
        run_id=server.run_id,
        buckets=len(work.opened),
        rebuilt=len(work.rebuilt),
        refused=len(work.refused),
    )
    return Adopted(
        buckets=tuple(sorted(work.opened)),
        rebuilt=tuple(work.rebuilt),
        refused=tuple(work.refused),
    )


class _Adoption:
    """One adoption in progress, under the lock and with generations raised."""

    def __init__(
        self,
        connection: Connection[Any],
        redis: "Redis",
        server: RedisServer,
        *,
        offset_ms: int,
        now_ms: int,
    ) -> None:
        self._connection, self._redis, self._server = connection, redis, server
        self._offset_ms, self._now_ms = offset_ms, now_ms
        self.opened: dict[int, Opened] = {}
        self.rebuilt: list[int] = []
        self.refused: list[int] = []

    def run(self, places: Mapping[int, LedgerPlace]) -> None:
        epoch = _next_epoch(self._connection)
        todo = dict(places)
        for _ in range(ROUNDS_MAX):
            behind, larger = self._open(todo, epoch)
            todo = {bucket: todo[bucket] for bucket in larger}
            for bucket in behind:
                if self._rebuild(bucket, places[bucket]):
                    # Level with the ledger now, whatever the log in Redis says.
                    todo[bucket] = LedgerPlace(epoch=0, seq=0, adopted_epoch=0)
            if not todo:
                return
            above = max([*larger.values(), *(places[bucket].epoch for bucket in todo)])
            if above >= epoch:
                epoch = _next_epoch(self._connection, above=above)
        self.refused += todo

    def _open(
        self, places: Mapping[int, LedgerPlace], epoch: int
    ) -> tuple[list[int], dict[int, int]]:
        """Run adopt.lua on some buckets; returns those behind the ledger, and those whose epoch is larger."""
        behind: list[int] = []
        too_small: dict[int, int] = {}
        for bucket, (code, old_epoch, old_seq) in self._call(places, epoch).items():
            match Adoption(code):
                case Adoption.ADOPTED:
                    self.opened[bucket] = Opened(
                        epoch=epoch, previous_epoch=old_epoch, previous_seq=old_seq
                    )
                case Adoption.BEHIND_LEDGER:
                    behind.append(bucket)
                case Adoption.EPOCH_NOT_LARGER:
                    too_small[bucket] = old_epoch
                case Adoption.OTHER_BUCKETS:
                    raise AdoptionRefused(
                        f"this Redis was set up with another number of buckets than {keys.BUCKETS}; "
                        "it belongs to another installation"
                    )
                case Adoption.ALREADY_ADOPTED:
                    pass
        return behind, too_small

    def _call(
        self, places: Mapping[int, LedgerPlace], epoch: int
    ) -> dict[int, tuple[int, int, int]]:
        script = load("adopt")
        self._redis.script_load(script.source)
        pipeline = self._redis.pipeline(transaction=False)
        for bucket, place in places.items():
            names, args = script.bind(
                meta=keys.meta(bucket),
                log=keys.log(bucket),
                run_id=self._server.run_id,
                replid=self._server.replid,
                epoch=epoch,
                buckets=keys.BUCKETS,
                ledger_epoch=place.epoch,
                ledger_seq=place.seq,
                offset_ms=self._offset_ms,
            )
            pipeline.evalsha(script.sha, len(names), *names, *args)
        return {
            bucket: (int(code), int(epoch), int(seq))
            for bucket, (code, epoch, seq) in zip(places, pipeline.execute(), strict=True)
        }

    def _rebuild(self, bucket: int, place: LedgerPlace) -> bool:
        """Count the bucket again from the ledger; what was after the ledger's end, nobody can tell."""
        note = "Redis came back without entries that Postgres has; later ones, if any, are gone"
        try:
            rebuilt = rebuild_bucket(
                self._connection,
                self._redis,
                bucket,
                offset_ms=self._offset_ms,
                now_ms=self._now_ms,
            )
        except (RebuildTooLarge, EntitlementMissing) as error:
            log.error("a bucket stays closed", bucket=bucket, why=str(error))
            self._lose(bucket, place, f"the bucket stays closed: {error}")
            self.refused.append(bucket)
            return False
        if rebuilt.adopted_meanwhile:
            return False
        self.rebuilt.append(bucket)
        log.warning("counted again from the ledger", bucket=bucket, counters=rebuilt.counters)
        self._lose(bucket, place, note)
        return True

    def lose_forgotten(
        self, places: Mapping[int, LedgerPlace], metas: Mapping[int, BucketMeta]
    ) -> None:
        """Record it where Redis no longer knows its newest epoch, of which Postgres has nothing."""
        note = "Redis came back without this epoch; decisions in it, if any, are gone"
        forgotten = {b for b in self.opened if metas[b].epoch < places[b].adopted_epoch}
        for bucket in forgotten - set(self.rebuilt):
            # A bucket that was never copied from has hardly had a decision: it is told in the log only.
            if places[bucket].epoch:
                place = LedgerPlace(epoch=places[bucket].adopted_epoch, seq=0, adopted_epoch=0)
                self._lose(bucket, place, note)
        if forgotten:
            log.warning("Redis came back without its newest epoch", buckets=len(forgotten))

    def _lose(self, bucket: int, place: LedgerPlace, note: str) -> None:
        loss = Loss(
            bucket=bucket, epoch=place.epoch, from_seq=place.seq + 1, to_seq=None, note=note
        )
        with self._connection.transaction(), self._connection.cursor() as cursor:
            add_loss(cursor, loss, self._now_ms)


def take_asked(redis: "Redis") -> set[int]:
    """The buckets that gateways found closed since this was last called."""
    members: Any = redis.spop(keys.ADOPT, keys.BUCKETS)
    numbers = {int(member) for member in members or () if member.isdigit()}
    return {number for number in numbers if number < keys.BUCKETS}


def _fence(redis: "Redis", buckets: list[int]) -> None:
    """Close buckets to every server, so that none decides while its counters are counted again."""
    pipeline = redis.pipeline(transaction=False)
    for bucket in buckets:
        pipeline.hdel(keys.meta(bucket), "run_id", "replid")
    pipeline.execute()


def _raise_generations(connection: Connection[Any], wanted: list[int]) -> dict[int, LedgerPlace]:
    with connection.transaction():
        found = connection.execute(queries["raise_generations"], {"buckets": wanted}).fetchall()
    if len(found) != len(wanted):
        raise AdoptionRefused(
            f"Postgres has {len(found)} of {len(wanted)} buckets: it was set up with another number"
        )
    return {
        bucket: LedgerPlace(epoch=epoch, seq=seq, adopted_epoch=adopted)
        for bucket, epoch, seq, _, _, adopted in found
    }


def _next_epoch(connection: Connection[Any], *, above: int = 0) -> int:
    with connection.transaction():
        if above:
            connection.execute(queries["raise_epochs"], {"above": above})
        found = connection.execute(queries["next_epoch"]).fetchone()
    assert found is not None, "a sequence always has a next value"
    return int(found[0])


def _note(
    connection: Connection[Any], opened: Mapping[int, Opened], server: RedisServer, now_ms: int
) -> None:
    epochs = {
        "bucket": list(opened),
        "epoch": [each.epoch for each in opened.values()],
        "previous_epoch": [each.previous_epoch for each in opened.values()],
        "previous_seq": [each.previous_seq for each in opened.values()],
    }
    with connection.transaction():
        connection.execute(
            queries["note_epochs"], {**epochs, "run_id": server.run_id, "at": time_of(now_ms)}
        )
        connection.execute(queries["note_adopted"], epochs)


@contextmanager
def _adoption_lock(connection: Connection[Any]) -> Iterator[bool]:
    found = connection.execute(queries["try_adoption_lock"], {"key": LOCK_KEY}).fetchone()
    locked = bool(found and found[0])
    try:
        yield locked
    finally:
        if locked and not connection.closed:
            connection.execute(queries["release_adoption_lock"], {"key": LOCK_KEY})
