from typing import Any

import psycopg
import pytest
from redis import Redis

from gateway.pricing.window import Span
from lua import keys
from reconciler.clock import (
    Clock,
    ClockRefused,
    instant,
    later,
    milliseconds,
    parse_rfc3339,
    rfc3339,
)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-22T10:00:00Z", 1_795_341_600_000),
        ("2026-11-22T10:00:00.123456Z", 1_795_341_600_123),
        ("2026-11-22T15:30:00+05:30", 1_795_341_600_000),
        ("2026-11-22t10:00z", 1_795_341_600_000),
    ],
)
def test_times_are_read_exactly(text: str, ms: int) -> None:
    assert parse_rfc3339(text) == ms
    assert milliseconds(instant(ms)) == ms


@pytest.mark.parametrize(
    "text", ["", "now", "2026-11-22", "2026-11-22T10:00:00", "2026-02-30T00:00:00Z", "1969-12-31T23:59:59Z", "2100-01-01T00:00:00Z"]
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339(text)


def test_times_are_shown_in_utc() -> None:
    assert rfc3339(1_795_341_600_000) == "2026-11-22T10:00:00Z"
    assert rfc3339(1_795_341_600_120) == "2026-11-22T10:00:00.120Z"


def test_a_month_later_is_the_same_day_of_the_next_month() -> None:
    at_ms = parse_rfc3339("2026-01-31T12:00:00Z")
    assert rfc3339(later(at_ms, Span("month"))) == "2026-02-28T12:00:00Z"
    assert later(at_ms, Span("day", 31)) - at_ms == 31 * 86_400_000
    with pytest.raises(ValueError, match="length of time"):
        later(at_ms, Span("never"))


def test_without_the_test_clock_time_is_real_and_stays(
    redis_client: Redis, connection: psycopg.Connection[Any]
) -> None:
    clock = Clock(test_clock=False, real_ms=lambda: 1_000)
    assert (clock.now_ms(connection), clock.offset_ms(connection)) == (1_000, 0)
    with pytest.raises(ClockRefused, match="not enabled"):
        clock.move_to(connection, redis_client, 2_000)


def test_the_test_clock_is_ahead_by_what_it_was_moved(
    redis_client: Redis, connection: psycopg.Connection[Any]
) -> None:
    clock = Clock(test_clock=True, real_ms=lambda: 1_000)
    assert clock.move_to(connection, redis_client, 5_000) == 5_000
    assert clock.move_to(connection, redis_client, 9_000) == 9_000
    assert redis_client.hget(keys.meta(7), "offset_ms") == b"8000"
    with pytest.raises(ClockRefused, match="forward"):
        clock.move_to(connection, redis_client, 8_999)
