"""Proves one bucket: its rows follow one another, say what the log says, cost what the price says, and add up to the
counters."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from lua.state import UsageState
from reconciler.batch import Position
from reconciler.drift import Drift, Kind
from reconciler.entry import Row, link
from reconciler.ledger_rows import LedgerRow
from reconciler.recount import EntitlementMissing, Recount
from reconciler.snapshot import BucketSnapshot, Place

_START: Place = (0, 0)


class BucketProof:
    """Takes the rows of a bucket in order, then what is not copied yet, and then compares the counters."""

    def __init__(
        self,
        snapshot: BucketSnapshot,
        recount: Recount,
        *,
        position: Position,
        losses: Iterable[tuple[int, int, int]],
        epoch_ends: Mapping[int, int],
    ) -> None:
        self._snapshot, self._recount, self._position = snapshot, recount, position
        self._lost = {(epoch, seq) for epoch, a, b in losses for seq in range(a, b + 1)}
        self._epoch_ends = epoch_ends
        self._at, self._chain = _START, b""
        self._used: dict[tuple[str, str, int, int], int] = {}
        self._overage: dict[tuple[str, str, int, int, int], int] = {}
        self._uncountable: set[tuple[str, str]] = set()
        self._rows_here: list[Row] = []
        self.drift: list[Drift] = []

    def prove(self, rows: Iterable[LedgerRow]) -> list[Drift]:
        """Everything that does not fit."""
        for each in rows:
            self._take(each)
        self._end_of_place()
        self._end_of_ledger()
        for error in self._snapshot.unreadable:
            self._found("log", str(error), "the entry cannot be read")
        for place, waiting in self._snapshot.log.items():
            if place > (self._position.epoch, self._position.seq):
                for row in waiting:
                    self._follow(row)
        self._compare_counters()
        return self.drift

    def _found(self, kind: Kind, where: str, message: str) -> None:
        self.drift.append(Drift(kind=kind, where=where, message=message))

    def _take(self, each: LedgerRow) -> None:
        row = each.row
        if row.place != self._at:
            self._end_of_place()
            missing = list(self._between(self._at, row.place))
            if missing:
                self._say_missing(missing)
            elif link(self._chain, row) != each.chain:
                self._say_altered(row)
            self._at = row.place
        elif link(self._chain, row) != each.chain:
            self._say_altered(row)
        self._chain = each.chain
        self._rows_here.append(row)
        self._follow(row)

    def _say_altered(self, row: Row) -> None:
        self._found(
            "chain",
            _name(row),
            "the row is not the one that was written, or one before it was removed",
        )

    def _say_missing(self, missing: list[Place]) -> None:
        first, last = missing[0], missing[-1]
        where = f"decision {self._position.bucket:04d}-{first[0]}-{first[1]}"
        more = f" and {len(missing) - 1} more up to {last[0]}-{last[1]}" if len(missing) > 1 else ""
        self._found("sequence", where, f"the ledger does not have it{more}")

    def _between(self, before: Place, after: Place) -> Iterator[Place]:
        """The places that must lie between two neighbours of the ledger, known losses left out."""
        epoch, seq = before
        wanted: list[Place] = []
        if after[0] == epoch:
            wanted += [(epoch, s) for s in range(seq + 1, after[1])]
        else:
            for each, end in sorted(self._epoch_ends.items()):
                if epoch <= each < after[0]:
                    first = seq + 1 if each == epoch else 1
                    wanted += [(each, s) for s in range(first, end + 1)]
            wanted += [(after[0], s) for s in range(1, after[1])]
        return (place for place in wanted if place not in self._lost)

    def _end_of_place(self) -> None:
        """Compare a decision's rows with its entry, where the log still has it."""
        rows, self._rows_here = self._rows_here, []
        logged = self._snapshot.log.get(self._at)
        if not rows or logged is None:
            return
        for row, entry in zip(rows, logged, strict=False):
            if replace(row, stamp={}) != replace(entry, stamp={}):
                where = _name(row)
                self._found(
                    "log", where, f"the ledger and the log differ: {_difference(row, entry)}"
                )
        if len(rows) != len(logged):
            where = f"decision {rows[0].id}"
            self._found("log", where, f"{len(rows)} rows in the ledger, {len(logged)} in the log")

    def _end_of_ledger(self) -> None:
        at = (self._position.epoch, self._position.seq)
        if self._at < at and (missing := list(self._between(self._at, (at[0], at[1] + 1)))):
            self._say_missing(missing)
        elif self._at > at or self._chain != self._position.chain:
            where = f"bucket {self._position.bucket:04d}"
            self._found("chain", where, f"its position {at[0]}-{at[1]} is not that of its last row")

    def _follow(self, row: Row) -> None:
        """Does a row continue the sums of those before it, and cost what it must? Count it."""
        where = _name(row)
        period = (row.customer, row.feature, row.period_start_ms, row.period_end_ms)
        self._continue(self._used, period, row.used_after, row.quantity, "used_after", where)
        segment = (*period, row.segment)
        self._continue(
            self._overage, segment, row.overage_after, row.overage, "overage_after", where
        )
        try:
            cost_nano = self._recount.cost_nano(row)
            if row.place <= self._snapshot.places.get(row.customer, _START):
                self._recount.add(row)
        except EntitlementMissing as error:
            if (row.customer, row.feature) not in self._uncountable:
                self._found("entitlement", str(error), "Postgres does not have it")
            self._uncountable.add((row.customer, row.feature))
            return
        if cost_nano != row.cost_nano:
            said = f"cost {row.cost_nano} nano, the price says {cost_nano}"
            self._found("cost", where, said)

    def _continue(
        self,
        sums: dict[tuple[str, str, int, int], int] | dict[tuple[str, str, int, int, int], int],
        key: tuple[str, str, int, int] | tuple[str, str, int, int, int],
        after: int,
        added: int,
        name: str,
        where: str,
    ) -> None:
        before = sums.get(key, 0)  # type: ignore[arg-type]
        if after != before + added:
            self._found("sequence", where, f"{name} {after} does not follow {before} + {added}")
        sums[key] = after  # type: ignore[index]

    def _compare_counters(self) -> None:
        for (customer, feature), counter in self._snapshot.states.items():
            if (customer, feature) in self._uncountable:
                continue
            counted = self._recount.state(customer, feature)
            where = f"counter of {customer} {feature}"
            for message in _counter_differences(counter, counted, self._snapshot.now_ms):
                self._found("counter", where, message)


def _name(row: Row) -> str:
    return f"decision {row.id} item {row.item}, {row.customer} {row.feature}"


def _difference(row: Row, entry: Row) -> str:
    names = [name for name in Row.__slots__ if name != "stamp"]
    differing = [name for name in names if getattr(row, name) != getattr(entry, name)]
    return ", ".join(
        f"{name} {getattr(row, name)} against {getattr(entry, name)}" for name in differing
    )


def _counter_differences(
    counter: UsageState | None, counted: UsageState | None, now_ms: int
) -> Iterator[str]:
    """How Redis differs from the ledger; a counter that is over may be gone."""
    of_redis = {} if counter is None else counter.windows
    of_ledger = {} if counted is None else counted.windows
    for name in sorted(of_redis.keys() | of_ledger.keys()):
        here, there = of_redis.get(name), of_ledger.get(name)
        if here is None:
            if there is not None and there.end_ms > now_ms and there.used:
                yield f"window {name} is not in Redis; the ledger has {there.used}"
        elif there is None:
            if here.used:
                yield f"window {name} is {here.used} in Redis; the ledger has nothing of it"
        elif here.used != there.used:
            yield f"window {name} is {here.used} in Redis, {there.used} by the ledger"
        elif here != there:
            yield (
                f"window {name} spans {here.from_ms}–{here.end_ms} in Redis, "
                f"{there.from_ms}–{there.end_ms} by the ledger"
            )
    if counter is not None and counted is not None and counter.segments != counted.segments:
        yield f"segments are {counter.segments} in Redis, {counted.segments} by the ledger"
