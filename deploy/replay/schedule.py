"""When each recorded request is decided: how far times are moved, and which requests share one reading of the clock.

The test clock only goes forward and starts at the real time, so a recording of the past is moved ahead. It moves by
whole cycles of 28 years, in which weekdays, month lengths and leap years repeat: every window, in every time zone
whose rules do not change, ends where it would have ended then.

Setting the clock once per request would be exact and slow. Requests are decided step by step instead: the clock is
set to the beginning of a step, all its requests are decided, and each customer's stay in order. Whatever begins and ends on
whole steps then counts the same as with the recorded times.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from deploy.replay.formats import Row

DAY_MS = 86_400_000
CYCLE_DAYS = 10_227
CYCLE_YEARS = 28
MOVED_MAX_MS = 4_102_444_800_000
"""2100-01-01: the cycle is broken by the first century year that is no leap year."""


class RecordingOutOfReach(ValueError):
    """The recorded times cannot be moved to where the clock stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """How recorded times become times of the test clock."""

    cycles: int
    starts_ms: int
    """Moved midnight (UTC) before the first request: where the clock is set first and subscriptions begin."""

    @property
    def by_ms(self) -> int:
        """Added to every recorded time."""
        return self.cycles * CYCLE_DAYS * DAY_MS

    @property
    def years(self) -> int:
        """The same in years."""
        return self.cycles * CYCLE_YEARS


def move_ahead(first_ms: int, last_ms: int, now_ms: int) -> Move:
    """The fewest cycles that bring the first recorded day to now or later.

    Raises RecordingOutOfReach when the last request would fall beyond 2099.
    """
    midnight_ms = first_ms // DAY_MS * DAY_MS
    cycle_ms = CYCLE_DAYS * DAY_MS
    cycles = max(0, -((midnight_ms - now_ms) // cycle_ms))
    if last_ms + cycles * cycle_ms >= MOVED_MAX_MS:
        raise RecordingOutOfReach(
            "the clock stands too late for this recording: moved ahead by whole cycles of "
            f"{CYCLE_YEARS} years it would end after 2099. Start again with an empty data folder."
        )
    return Move(cycles=cycles, starts_ms=midnight_ms + cycles * cycle_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Requests decided under one setting of the clock."""

    starts_ms: int
    ends_ms: int
    lanes: tuple[tuple[Row, ...], ...]
    """One lane a customer, in order of time; lanes do not share state and may run at once."""

    @property
    def size(self) -> int:
        """How many requests it holds."""
        return sum(map(len, self.lanes))


def steps(rows: Sequence[Row], move: Move, step_ms: int) -> Iterator[Step]:
    """Cuts rows, sorted by time, into steps of the moved time."""
    for start_ms, group in groupby(rows, lambda row: (row.at_ms + move.by_ms) // step_ms * step_ms):
        yield Step(starts_ms=start_ms, ends_ms=start_ms + step_ms, lanes=lanes(list(group)))


def lanes(rows: Sequence[Row]) -> tuple[tuple[Row, ...], ...]:
    """The rows of each customer, in order; the busiest first, so that it does not finish alone."""
    by_customer: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_customer[row.customer].append(row)
    return tuple(tuple(lane) for lane in sorted(by_customer.values(), key=len, reverse=True))
