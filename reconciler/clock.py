"""The time of the control plane, and instants in the forms that Postgres and HTTP use.

Inside the product an instant is an integer number of milliseconds since 1970-01-01 UTC.
"""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from psycopg import Connection
from redis import Redis

from gateway.pricing.window import NEVER_ENDS_MS, Span, window_at
from lua import keys
from reconciler.sql import queries

INSTANT_MS_MAX: Final = 4_102_444_800_000
"""2100-01-01: nothing outside may name an instant from here on, so that no arithmetic leaves the calendar."""
ADVANCE_MS_MAX: Final = 10 * 366 * 86_400_000
"""The test clock moves so far at once at most."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)"
)


class ClockRefused(ValueError):
    """The test clock cannot be moved like that; the message says why."""


class Clock:
    """Virtual time: the real one, ahead by the offset of the test clock where that is enabled."""

    def __init__(
        self, *, test_clock: bool, real_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self.test_clock = test_clock
        self._real_ms = real_ms

    def now_ms(self, connection: Connection[Any]) -> int:
        """The virtual time of this moment."""
        return self._real_ms() + self.offset_ms(connection)

    def real_ms(self) -> int:
        """The real time of this moment."""
        return self._real_ms()

    def offset_ms(self, connection: Connection[Any]) -> int:
        """How far the test clock is ahead of the real one; 0 where it is not enabled."""
        if not self.test_clock:
            return 0
        row = connection.execute(queries["control_clock_offset"]).fetchone()
        return 0 if row is None else int(row[0])

    def move_to(self, connection: Connection[Any], redis: "Redis", at_ms: int) -> int:
        """Set the test clock forward, in Postgres first and then in every bucket; returns the new time.

        Redis being away raises its error with Postgres already changed: the same call again completes it.
        Raises ClockRefused where the clock is not enabled, or for a time in its past.
        """
        if not self.test_clock:
            raise ClockRefused("The test clock is not enabled; start with TALLYGATE_TEST_CLOCK=1.")
        with connection.transaction():
            connection.execute(queries["control_clock_lock"])
            now_ms = self.now_ms(connection)
            if at_ms < now_ms:
                raise ClockRefused(
                    f"The test clock only goes forward: it is {rfc3339(now_ms)} already."
                )
            if at_ms - now_ms > ADVANCE_MS_MAX or at_ms >= INSTANT_MS_MAX:
                raise ClockRefused("The test clock moves ten years at once at most, up to 2099.")
            offset_ms = self.offset_ms(connection) + at_ms - now_ms
            connection.execute(queries["control_clock_set"], {"offset_ms": offset_ms})
        publish_offset(redis, offset_ms)
        return self.now_ms(connection)


def publish_offset(redis: "Redis", offset_ms: int) -> None:
    """Tell every bucket how far the test clock is ahead."""
    pipeline = redis.pipeline(transaction=False)
    for bucket in range(keys.BUCKETS):
        pipeline.hset(keys.meta(bucket), "offset_ms", str(offset_ms))
    pipeline.execute()


def later(at_ms: int, span: Span) -> int:
    """The instant one span after another, in UTC: a month later is the same day of the next month.

    Raises ValueError for `period` and `never`.
    """
    if span.unit in ("period", "never"):
        raise ValueError(f"{span} is not a length of time here; write one like 31 days")
    return window_at(span, "anchor", at_ms=at_ms, anchor_ms=at_ms, zone="UTC", period=span).end_ms


def instant(at_ms: int) -> datetime:
    """The datetime in UTC of a number of milliseconds."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def milliseconds(at: datetime) -> int:
    """The inverse of `instant`; digits below a millisecond are cut."""
    return (at - _EPOCH) // _MILLISECOND


def rfc3339(at_ms: int) -> str:
    """As HTTP shows it: UTC with Z, milliseconds only where they are not zero."""
    if at_ms >= NEVER_ENDS_MS:
        return "9999-12-31T23:59:59Z"
    at = instant(at_ms)
    fraction = f".{at.microsecond // 1000:03d}" if at.microsecond else ""
    return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def parse_rfc3339(text: str) -> int:
    """Milliseconds of an RFC 3339 time, which must say its offset. Raises ValueError."""
    found = _RFC3339.fullmatch(text.strip())
    if found is None:
        raise ValueError("write a time like 2026-11-22T10:00:00Z")
    day, clock, fraction, offset = found.groups()
    offset = "+00:00" if offset in "Zz" else offset
    if len(clock) == 5:
        clock += ":00"
    try:
        at_ms = milliseconds(datetime.fromisoformat(f"{day}T{clock}{offset}"))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a time: {error}") from None
    at_ms += int((fraction or "0").ljust(3, "0")[:3])
    if not 0 <= at_ms < INSTANT_MS_MAX:
        raise ValueError("the time must lie between 1970 and 2099")
    return at_ms
