"""Windows around changes of the clock, by hand and at random: each instant is in one, and they touch."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pricing.window import Align, format_instant
from tests.pricing.windows import ALIGNS, DAY_MS, HOUR_MS, ZONES, ms, wall, window


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-08", 23), ("2026-03-09", 24), ("2026-11-01", 25)]
)
def test_a_day_in_new_york_is_as_long_as_its_clock_says(day: str, hours: int) -> None:
    noon_ms = ms(f"{day} 12:00", "America/New_York")
    for align in ALIGNS:
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
    align=st.sampled_from(ALIGNS),
    zone=st.sampled_from(ZONES),
    at_ms=INSTANTS,
    anchor_ms=INSTANTS,
)
def test_a_window_contains_its_instant_and_touches_the_next(
    span: str, align: Align, zone: str, at_ms: int, anchor_ms: int
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
    for align in ALIGNS:
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
