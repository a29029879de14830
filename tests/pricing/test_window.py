"""Windows touch and never drift, in every zone and over every kind of month."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.pricing.window import (
    NEVER_ENDS_MS,
    Align,
    Span,
    Window,
    align_problem,
    format_instant,
    next_resets,
    zone_named,
)
from tests.pricing.windows import DAY_MS, HOUR_MS, MONTH, ZONES, ms, wall, window


def resets(span: str, align: Align, start: str, zone: str, count: int) -> list[str]:
    """Wall times of the next resets, with the anchor at `start`."""
    at_ms = ms(start, zone)
    found = next_resets(
        Span.parse(span), align, at_ms=at_ms, anchor_ms=at_ms, zone=zone, period=MONTH, count=count
    )
    return [wall(each, zone) for each in found]


def test_an_anchor_on_the_31st_returns_to_the_31st() -> None:
    assert resets("month", "anchor", "2023-01-31 10:00", "UTC", 14) == [
        "2023-02-28 10:00",
        "2023-03-31 10:00",
        "2023-04-30 10:00",
        "2023-05-31 10:00",
        "2023-06-30 10:00",
        "2023-07-31 10:00",
        "2023-08-31 10:00",
        "2023-09-30 10:00",
        "2023-10-31 10:00",
        "2023-11-30 10:00",
        "2023-12-31 10:00",
        "2024-01-31 10:00",
        "2024-02-29 10:00",
        "2024-03-31 10:00",
    ]


def test_an_anchor_on_29_february_returns_to_it_in_leap_years() -> None:
    assert resets("year", "anchor", "2024-02-29 00:00", "Asia/Kathmandu", 5) == [
        "2025-02-28 00:00",
        "2026-02-28 00:00",
        "2027-02-28 00:00",
        "2028-02-29 00:00",
        "2029-02-28 00:00",
    ]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("year", [2023, 2024])
@pytest.mark.parametrize("day", [28, 29, 30, 31])
def test_month_windows_touch_and_keep_the_day_for_48_months(day: int, year: int, zone: str) -> None:
    anchor_ms = ms(f"{year}-01-{day} 09:30", zone)
    found = window("month", "anchor", anchor_ms, anchor_ms=anchor_ms, zone=zone)
    assert found.start_ms == anchor_ms
    for number in range(1, 49):
        following = window("month", "anchor", found.end_ms, anchor_ms=anchor_ms, zone=zone)
        assert following.start_ms == found.end_ms
        before_end = window("month", "anchor", found.end_ms - 1, anchor_ms=anchor_ms, zone=zone)
        assert before_end == found
        month = number % 12 + 1
        last = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
        if month == 2 and (year + number // 12) % 4 == 0:
            last = 29
        expected = f"{year + number // 12}-{month:02}-{min(day, last):02} 09:30"
        assert wall(following.start_ms, zone) == expected
        found = following


def test_hours_of_the_calendar_are_cut_from_midnight_and_clipped_at_the_next() -> None:
    zone = "America/New_York"
    midnight_ms = ms("2026-11-01 00:00", zone)
    found = next_resets(
        Span("hour", 7),
        "calendar",
        at_ms=midnight_ms,
        anchor_ms=0,
        zone=zone,
        period=MONTH,
        count=5,
    )
    hours = [(each - midnight_ms) / HOUR_MS for each in found]
    assert hours == [7, 14, 21, 25, 32], "a day of 25 hours: the last window has 4"


def test_hours_start_on_the_local_hour_where_the_zone_is_off_by_45_minutes() -> None:
    found = window(
        "hour", "calendar", ms("2026-05-05 12:34", "Asia/Kathmandu"), zone="Asia/Kathmandu"
    )
    assert format_instant(found.start_ms) == "2026-05-05T06:15:00Z"
    assert wall(found.start_ms, "Asia/Kathmandu") == "2026-05-05 12:00"


def test_weeks_start_on_monday_and_n_weeks_are_counted_from_one() -> None:
    zone = "Pacific/Kiritimati"
    found = window("week", "calendar", ms("2026-11-22 12:00", zone), zone=zone)
    assert wall(found.start_ms, zone) == "2026-11-16 00:00"
    fortnight = window("2 weeks", "calendar", ms("2026-11-22 12:00", zone), zone=zone)
    assert (fortnight.end_ms - fortnight.start_ms) == 14 * DAY_MS
    assert datetime.fromtimestamp(fortnight.start_ms / 1000, ZoneInfo(zone)).weekday() == 0


def test_quarters_and_years_of_the_calendar_start_in_january() -> None:
    at_ms = ms("2026-11-22 12:00", "Europe/Berlin")
    quarter = window("quarter", "calendar", at_ms, zone="Europe/Berlin")
    assert wall(quarter.start_ms, "Europe/Berlin") == "2026-10-01 00:00"
    year = window("year", "calendar", at_ms, zone="Europe/Berlin")
    assert wall(year.end_ms, "Europe/Berlin") == "2027-01-01 00:00"


def test_hours_from_an_anchor_are_absolute() -> None:
    anchor_ms = ms("2026-03-07 22:10", "America/New_York")
    found = next_resets(
        Span("hour", 5),
        "anchor",
        at_ms=anchor_ms,
        anchor_ms=anchor_ms,
        zone="America/New_York",
        period=MONTH,
        count=4,
    )
    assert found == [anchor_ms + number * 5 * HOUR_MS for number in (1, 2, 3, 4)]


def test_the_billing_period_is_anchored_whatever_the_alignment() -> None:
    anchor_ms = ms("2026-01-31 08:00")
    found = window("period", "calendar", ms("2026-03-01 00:00"), anchor_ms=anchor_ms)
    assert (wall(found.start_ms, "UTC"), wall(found.end_ms, "UTC")) == (
        "2026-02-28 08:00",
        "2026-03-31 08:00",
    )


def test_never_ends_never() -> None:
    anchor_ms = ms("2026-01-31 08:00")
    assert window("never", "anchor", anchor_ms, anchor_ms=anchor_ms) == Window(
        anchor_ms, NEVER_ENDS_MS
    )
    assert window("never", "anchor", anchor_ms - 1, anchor_ms=anchor_ms) == Window(0, anchor_ms)
    assert (
        next_resets(
            Span("never"),
            "anchor",
            at_ms=anchor_ms,
            anchor_ms=anchor_ms,
            zone="UTC",
            period=MONTH,
            count=3,
        )
        == []
    )


def test_windows_before_the_anchor_are_counted_back_from_it() -> None:
    anchor_ms = ms("2026-03-31 00:00")
    found = window("month", "anchor", ms("2026-02-10 00:00"), anchor_ms=anchor_ms)
    assert (wall(found.start_ms, "UTC"), wall(found.end_ms, "UTC")) == (
        "2026-01-31 00:00",
        "2026-02-28 00:00",
    )


def test_what_has_no_window_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="only the script knows"):
        window("hour", "first_use", 0)
    with pytest.raises(ValueError, match="does not fit in a day"):
        window("24 hours", "calendar", 0)
    with pytest.raises(ValueError, match="Mars/Olympus"):
        window("day", "calendar", 0, zone="Mars/Olympus")
    with pytest.raises(ValueError, match="before 1970"):
        window("day", "calendar", -1)
    with pytest.raises(ValueError, match="beyond the calendar"):
        window("year", "anchor", ms("9999-06-01 00:00"))
    with pytest.raises(ValueError, match="beyond the calendar"):
        window("year", "anchor", NEVER_ENDS_MS)
    for name in ("../etc/passwd", "", "/UTC", "Europe"):
        with pytest.raises(ValueError, match="is not a time zone"):
            zone_named(name)


@pytest.mark.parametrize(
    ("span", "align", "wrong"),
    [
        ("25 hours", "calendar", True),
        ("23 hours", "calendar", False),
        ("86400 seconds", "calendar", True),
        ("3 days", "calendar", False),
        ("month", "first_use", True),
        ("2 weeks", "first_use", False),
        ("25 hours", "anchor", False),
        ("never", "calendar", True),
        ("period", "anchor", False),
    ],
)
def test_the_catalog_learns_which_alignments_a_span_has(
    span: str, align: Align, wrong: bool
) -> None:
    assert (align_problem(Span.parse(span), align) is not None) == wrong


def test_a_window_that_began_before_1970_is_cut_there() -> None:
    found = window("100 years", "calendar", 1, zone="Asia/Kathmandu")
    assert found.start_ms == 0
    assert 1 in found


def test_an_instant_is_written_in_utc() -> None:
    assert format_instant(0) == "1970-01-01T00:00:00Z"
    assert format_instant(1_764_000_000_123) == "2025-11-24T16:00:00.123Z"
    assert format_instant(NEVER_ENDS_MS) == "9999-12-31T23:59:59Z"
