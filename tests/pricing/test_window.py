"""Windows contain, touch and never drift, in every zone and over every kind of month."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pricing.window import (
    NEVER_ENDS_MS,
    Span,
    Window,
    align_problem,
    format_instant,
    next_resets,
    window_at,
    zone_named,
)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MONTH = Span("month")
ZONES = (
    "UTC",
    "Asia/Kathmandu",
    "Pacific/Kiritimati",
    "Australia/Lord_Howe",
    "America/New_York",
    "Europe/Berlin",
    "America/St_Johns",
    "America/Havana",
    "Africa/Casablanca",
    "Pacific/Apia",
)


def ms(text: str, zone: str = "UTC") -> int:
    """Milliseconds of a wall time in a zone."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000


def wall(at_ms: int, zone: str) -> str:
    """The wall time of an instant."""
    return datetime.fromtimestamp(at_ms // 1000, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def window(
    span: str,
    align: str,
    at_ms: int,
    *,
    anchor_ms: int = 0,
    zone: str = "UTC",
    period: Span = MONTH,
) -> Window:
    return window_at(
        Span.parse(span), align, at_ms=at_ms, anchor_ms=anchor_ms, zone=zone, period=period
    )


def resets(span: str, align: str, start: str, zone: str, count: int) -> list[str]:
    """Wall times of the next resets, with the anchor at `start`."""
    at_ms = ms(start, zone)
    found = next_resets(
        Span.parse(span), align, at_ms=at_ms, anchor_ms=at_ms, zone=zone, period=MONTH, count=count
    )
    return [wall(each, zone) for each in found]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("hour", "hour"),
        ("1 hour", "hour"),
        ("5 hours", "5 hours"),
        ("every 5 minutes", "5 minutes"),
        ("Hourly", "hour"),
        ("daily", "day"),
        ("monthly", "month"),
        ("annual", "year"),
        ("quarter", "3 months"),
        ("quarterly", "3 months"),
        ("2 quarters", "6 months"),
        ("period", "period"),
        ("billing period", "period"),
        ("never", "never"),
    ],
)
def test_a_span_is_read_and_written_canonically(text: str, canonical: str) -> None:
    assert str(Span.parse(text)) == canonical
    assert Span.parse(canonical) == Span.parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a span"),
        ("5", "is not a span"),
        ("5h", "is not a span"),
        ("0 hours", "at least 1 hour"),
        ("-1 hours", "is not a span"),
        ("1.5 hours", "is not a span"),
        ("2 monthly", "is not a span"),
        ("3 periods", "is not a span"),
        ("2 never", "never cannot be counted"),
        ("mounth", "did you mean month?"),
        ("101 years", "longer than 100 years"),
        ("99999999999 days", "is not a span"),
        ("five hours", "is not a span"),
    ],
)
def test_what_is_no_span_is_refused_with_help(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        Span.parse(text)


def test_only_seconds_to_weeks_have_a_length() -> None:
    assert Span("hour", 5).length_ms == 5 * HOUR_MS
    assert Span("week").length_ms == 7 * DAY_MS
    for unit in ("month", "year", "period", "never"):
        with pytest.raises(ValueError, match="no fixed length"):
            _ = Span(unit).length_ms


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


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-08", 23), ("2026-03-09", 24), ("2026-11-01", 25)]
)
def test_a_day_in_new_york_is_as_long_as_its_clock_says(day: str, hours: int) -> None:
    noon_ms = ms(f"{day} 12:00", "America/New_York")
    for align in ("calendar", "anchor"):
        found = window(
            "day",
            align,
            noon_ms,
            anchor_ms=ms("2026-01-01 00:00", "America/New_York"),
            zone="America/New_York",
        )
        assert found.end_ms - found.start_ms == hours * HOUR_MS
        assert wall(found.start_ms, "America/New_York") == f"{day} 00:00"


def test_a_clock_that_moves_by_half_an_hour_makes_days_of_that_length() -> None:
    lengths = {
        day: window(
            "day", "calendar", ms(f"{day} 12:00", "Australia/Lord_Howe"), zone="Australia/Lord_Howe"
        )
        for day in ("2026-04-05", "2026-04-06", "2026-10-04")
    }
    assert [(each.end_ms - each.start_ms) / HOUR_MS for each in lengths.values()] == [
        24.5,
        24,
        23.5,
    ]


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


def test_a_boundary_the_clock_skips_falls_on_the_change() -> None:
    zone = "America/New_York"
    anchor_ms = ms("2026-03-07 02:30", zone)
    found = window("day", "anchor", anchor_ms, anchor_ms=anchor_ms, zone=zone)
    assert format_instant(found.end_ms) == "2026-03-08T07:00:00Z", "the instant after 01:59:59 EST"
    following = window("day", "anchor", found.end_ms, anchor_ms=anchor_ms, zone=zone)
    assert wall(following.end_ms, zone) == "2026-03-09 02:30"


def test_a_boundary_the_clock_shows_twice_falls_on_the_first() -> None:
    zone = "America/New_York"
    anchor_ms = ms("2026-10-31 01:30", zone)
    found = window("day", "anchor", anchor_ms, anchor_ms=anchor_ms, zone=zone)
    assert format_instant(found.end_ms) == "2026-11-01T05:30:00Z"


def test_an_anchor_at_the_second_showing_of_an_hour_begins_there() -> None:
    zone = "America/New_York"
    anchor_ms = ms("2026-11-01 06:30")
    assert wall(anchor_ms, zone) == "2026-11-01 01:30"
    found = window("day", "anchor", anchor_ms, anchor_ms=anchor_ms, zone=zone)
    assert found.start_ms == anchor_ms
    assert (
        window("day", "anchor", anchor_ms - 1, anchor_ms=anchor_ms, zone=zone).end_ms == anchor_ms
    )


def test_a_day_that_never_was_has_no_window() -> None:
    zone = "Pacific/Apia"  # It went from 29 to 31 December 2011.
    eve = window("day", "calendar", ms("2011-12-29 12:00", zone), zone=zone)
    assert eve.end_ms - eve.start_ms == DAY_MS
    following = window("day", "calendar", eve.end_ms, zone=zone)
    assert wall(following.start_ms, zone) == "2011-12-31 00:00"


def test_midnight_shown_twice_by_a_change_just_after_it_makes_one_day() -> None:
    zone = "America/St_Johns"  # Until 2011 the clock went from 00:01 back to 23:01.
    for minutes in range(-120, 180):
        at_ms = ms("2010-11-07 03:00") + minutes * 60_000
        for span in ("day", "hour", "5 hours"):
            found = window(span, "calendar", at_ms, zone=zone)
            assert at_ms in found
            assert window(span, "calendar", found.start_ms, zone=zone) == found
            assert window(span, "calendar", found.end_ms - 1, zone=zone) == found


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
def test_the_catalog_learns_which_alignments_a_span_has(span: str, align: str, wrong: bool) -> None:
    assert (align_problem(Span.parse(span), align) is not None) == wrong


def test_a_window_that_began_before_1970_is_cut_there() -> None:
    found = window("100 years", "calendar", 1, zone="Asia/Kathmandu")
    assert found.start_ms == 0
    assert 1 in found


def test_an_instant_is_written_in_utc() -> None:
    assert format_instant(0) == "1970-01-01T00:00:00Z"
    assert format_instant(1_764_000_000_123) == "2025-11-24T16:00:00.123Z"
    assert format_instant(NEVER_ENDS_MS) == "9999-12-31T23:59:59Z"


SPANS = st.sampled_from(
    [
        "second",
        "90 seconds",
        "minute",
        "45 minutes",
        "hour",
        "5 hours",
        "7 hours",
        "day",
        "3 days",
        "week",
        "2 weeks",
        "month",
        "3 months",
        "5 months",
        "year",
        "2 years",
        "period",
    ]
)
INSTANTS = st.integers(ms("1975-01-01 00:00"), ms("2090-01-01 00:00"))


@settings(max_examples=400, deadline=None)
@given(
    span=SPANS,
    align=st.sampled_from(["calendar", "anchor"]),
    zone=st.sampled_from(ZONES),
    at_ms=INSTANTS,
    anchor_ms=INSTANTS,
)
def test_a_window_contains_its_instant_and_touches_the_next(
    span: str, align: str, zone: str, at_ms: int, anchor_ms: int
) -> None:
    found = window(span, align, at_ms, anchor_ms=anchor_ms, zone=zone)
    assert found.start_ms <= at_ms < found.end_ms
    assert window(span, align, found.start_ms, anchor_ms=anchor_ms, zone=zone) == found
    assert window(span, align, found.end_ms - 1, anchor_ms=anchor_ms, zone=zone) == found
    following = window(span, align, found.end_ms, anchor_ms=anchor_ms, zone=zone)
    assert following.start_ms == found.end_ms


@settings(max_examples=300, deadline=None)
@given(
    span=st.sampled_from(["day", "week", "month", "3 months", "year"]),
    zone=st.sampled_from(ZONES),
    days=st.integers(-3, 3),
    minutes=st.integers(0, 24 * 60),
    change=st.sampled_from(
        [
            "2010-03-14",
            "2010-11-07",
            "2011-12-30",
            "2026-03-08",
            "2026-03-29",
            "2026-04-05",
            "2026-10-04",
            "2026-10-25",
            "2026-11-01",
            "1994-12-31",
            "2026-02-15",
            "2026-03-22",
        ]
    ),
)
def test_windows_hold_around_every_change_of_a_clock(
    span: str, zone: str, days: int, minutes: int, change: str
) -> None:
    at_ms = ms(f"{change} 00:00") + days * DAY_MS + minutes * 60_000
    for align in ("calendar", "anchor"):
        found = window(span, align, at_ms, anchor_ms=ms("2012-08-31 00:30", zone), zone=zone)
        assert at_ms in found
        following = window(
            span, align, found.end_ms, anchor_ms=ms("2012-08-31 00:30", zone), zone=zone
        )
        assert following.start_ms == found.end_ms


def test_the_hours_of_a_year_are_as_many_as_it_has() -> None:
    for zone in ("America/New_York", "Australia/Lord_Howe"):
        at_ms, end_ms = ms("2026-01-01 00:00", zone), ms("2027-01-01 00:00", zone)
        days = 0
        while at_ms < end_ms:
            at_ms = window("day", "calendar", at_ms, zone=zone).end_ms
            days += 1
        assert (days, at_ms) == (365, end_ms)
