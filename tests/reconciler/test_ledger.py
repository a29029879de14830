"""Exactly once, through anything: random histories of decisions, crashes, pauses, restarts and losses.

Two reconcilers copy the decisions of a few customers. At random a copy dies before, within or after its transaction,
or is paused while others go on; Redis restarts, comes back as it was a while ago, or comes back empty. In the end every
decision that Redis or Postgres still had is in the ledger once, and the counters say the same.
"""

import os
import random
from typing import Any

import psycopg
import pytest
from redis import Redis

from lua import keys
from reconciler import copier, ledger
from reconciler.batch import Batch
from reconciler.copier import Copier
from reconciler.trimming import Trimmer
from reconciler.verify import verify
from tests.lua.calls import limit, per_unit
from tests.reconciler.decisions import Decisions, charged

STEPS = 80
SEEDS = int(os.environ.get("TALLYGATE_SEEDS", "10"))
CUSTOMERS = ("acme", "globex", "initech", "hooli")

Place = tuple[int, int, int]
"""Bucket, epoch, sequence number."""


class Crash(Exception):
    """The process ends here."""


class History:
    """One random history and what must be true at its end."""

    def __init__(self, seed: int, decisions: Decisions, patch: pytest.MonkeyPatch) -> None:
        self.random = random.Random(seed)
        self.decisions, self.patch = decisions, patch
        self.redis, self.connection = decisions.redis, decisions.connection
        self.copiers = [Copier(self.redis, batch_entries_max=7) for _ in range(2)]
        self.trimmer = Trimmer(self.redis, retention_ms=0)
        self.paused: list[tuple[Copier, list[Batch]]] = []
        self.saved: dict[bytes, bytes] = {}
        self.truth: dict[Place, int] = {}
        """Every acknowledged decision that has not been lost by Redis before Postgres had it."""
        self.at_ms = 0
        for version, customer in enumerate(CUSTOMERS, 1):
            limits = (limit(9_000, "hour"), limit(9_000, "2 hours", "first_use"))
            decisions.entitle(customer, charged(limits=limits), version=version)

    def step(self) -> None:
        actions = [
            (self.consume, 40),
            (self.copy, 20),
            (self.copy_and_crash, 9),
            (self.pause, 6),
            (self.resume, 6),
            (self.trim, 4),
            (self.save, 4),
            (self.change_price, 2),
            (self.restart, 3),
            (self.roll_back, 4),
            (self.empty, 1),
        ]
        chosen = self.random.choices([a for a, _ in actions], [weight for _, weight in actions])
        chosen[0]()

    def consume(self) -> None:
        customer = self.random.choice(CUSTOMERS)
        quantity = self.random.randint(1, 9)
        reply = self.decisions.consume(customer, quantity)
        self.truth[keys.bucket_of(customer), reply.epoch, reply.seq] = quantity

    def copy(self) -> None:
        self.random.choice(self.copiers).copy(self.connection, now_ms=0)

    def copy_and_crash(self) -> None:
        """Die before the transaction, within it, or before its outcome is known."""
        where = self.random.choice(["before", "within", "after"])
        real_post, real_move = ledger.post, ledger._move_positions

        def post(*given: Any) -> Any:
            if where == "before":
                raise Crash
            posted = real_post(*given)
            if where == "after":
                raise Crash
            return posted

        def move(*given: Any) -> None:
            if where == "within":
                raise Crash
            real_move(*given)

        with self.patch.context() as patch:
            patch.setattr(copier, "post", post)
            patch.setattr(ledger, "_move_positions", move)
            number = self.random.randrange(len(self.copiers))
            try:
                self.copiers[number].copy(self.connection, now_ms=0)
            except Crash:
                self.copiers[number] = Copier(self.redis, batch_entries_max=7)

    def pause(self) -> None:
        """Read a batch, and stop for who knows how long."""
        one = self.random.choice(self.copiers)
        one.refresh(self.connection)
        batches = one._gather(self.connection, one._read(0, 0), 0)
        if batches:
            self.paused.append((one, batches))

    def resume(self) -> None:
        if self.paused:
            one, batches = self.paused.pop(self.random.randrange(len(self.paused)))
            one._post(self.connection, batches, 0)

    def trim(self) -> None:
        positions = ledger.read_positions(self.connection, range(keys.BUCKETS))
        self.at_ms += 1
        self.trimmer.note(positions, self.at_ms)
        self.trimmer.trim(positions, self.at_ms)

    def save(self) -> None:
        """What Redis will come back with."""
        self.saved = {key: self.redis.dump(key) for key in self.redis.keys("*")}

    def change_price(self) -> None:
        customer = self.random.choice(CUSTOMERS)
        (version,) = self.connection.execute(
            "SELECT max(version) + 1 FROM tg.entitlements"
        ).fetchone()
        price = per_unit(self.random.choice(["0.004", "0.01"]))
        self.decisions.entitle(customer, charged(price=price), version=version)

    def restart(self) -> None:
        for bucket in range(keys.BUCKETS):
            self.redis.hset(keys.meta(bucket), "run_id", f"run-{self.random.random()}")
        self.come_back()

    def roll_back(self) -> None:
        self.redis.flushall()
        for key, value in self.saved.items():
            self.redis.restore(key, 0, value)
            if key.endswith(b":meta"):
                self.redis.hset(key, "run_id", f"run-{self.random.random()}")
        self.come_back()

    def empty(self) -> None:
        self.redis.flushall()
        self.saved = {}
        self.come_back()

    def come_back(self) -> None:
        """Perhaps a paused reconciler wakes before the adoption; what nobody has any more is lost then."""
        if self.random.random() < 0.3:
            self.resume()
        kept = self.in_postgres().keys() | self.in_log()
        self.truth = {place: n for place, n in self.truth.items() if place in kept}
        self.decisions.adopt()
        # A restarted server is not saved under its old identity again.
        self.save()

    def in_log(self) -> set[Place]:
        return {
            (bucket, *map(int, entry_id.split(b"-")))
            for bucket in range(keys.BUCKETS)
            for entry_id, _ in self.redis.xrange(keys.log(bucket))
        }

    def in_postgres(self) -> dict[Place, int]:
        rows = self.connection.execute("SELECT bucket, epoch, seq, quantity FROM tg.decisions")
        return {(bucket, epoch, seq): quantity for bucket, epoch, seq, quantity in rows.fetchall()}

    def check(self) -> None:
        while self.paused:
            self.resume()
        self.decisions.copy()
        assert self.in_postgres() == self.truth
        for customer in CUSTOMERS:
            assert self.decisions.counter(customer) == self.decisions.ledger(customer)
        assert verify(self.connection, self.redis) == []


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_decision_is_in_the_ledger_once(
    seed: int,
    few_buckets: None,
    redis_client: Redis,
    connection: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decisions = Decisions(redis=redis_client, connection=connection)
    decisions.adopt()
    history = History(seed, decisions, monkeypatch)
    for _ in range(STEPS):
        history.step()
    history.check()
