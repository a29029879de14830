"""Recorded times move ahead without changing what windows they fall into."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from deploy.replay.formats import Row
from deploy.replay.schedule import DAY_MS, RecordingOutOfReach, move_ahead, steps


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def row(number: int, at_ms: int, customer: str = "a") -> Row:
    return Row(number=number, at_ms=at_ms, customer=customer, quantity="1")


NOW = ms("2026-11-22T12:00:00")


@pytest.mark.parametrize(
    "recorded", ["2015-05-17T10:05:03", "2016-02-29T23:59:59", "2023-11-16T18:15:46"]
)
def test_a_recording_moves_to_the_same_day_of_month_and_week_with_the_same_clock(
    recorded: str,
) -> None:
    first = ms(recorded)
    move = move_ahead(first, first, NOW)
    then, moved = (datetime.fromtimestamp(at / 1000, UTC) for at in (first, first + move.by_ms))
    assert (moved.month, moved.day, moved.hour, moved.weekday()) == (
        then.month, then.day, then.hour, then.weekday(),
    )  # fmt: skip
    assert moved.year - then.year == move.years == 28
    assert NOW <= move.starts_ms <= first + move.by_ms < move.starts_ms + DAY_MS


def test_summer_time_falls_on_the_moved_day_it_fell_on() -> None:
    zone = ZoneInfo("Europe/Berlin")
    for hour in range(24 * 366):
        at = ms("2015-01-01T00:00:00") + hour * 3_600_000
        moved = at + move_ahead(at, at, NOW).by_ms
        offsets = [datetime.fromtimestamp(each / 1000, zone).utcoffset() for each in (at, moved)]
        assert offsets[0] == offsets[1]


def test_a_recording_that_lies_ahead_is_not_moved() -> None:
    first = ms("2027-01-01T00:00:00")
    assert move_ahead(first, first, NOW).by_ms == 0
    assert move_ahead(first, first, first).by_ms == 0


def test_a_clock_behind_the_recording_moves_it_one_cycle_more() -> None:
    first = ms("2015-05-17T10:05:03")
    assert move_ahead(first, first, ms("2043-05-17T00:00:00")).years == 28
    assert move_ahead(first, first, ms("2043-05-17T00:00:01")).years == 56


def test_a_recording_that_would_leave_the_century_is_refused() -> None:
    first = ms("2023-11-16T18:15:46")
    with pytest.raises(RecordingOutOfReach, match="after 2099"):
        move_ahead(first, first, ms("2080-01-01T00:00:00"))


def test_steps_are_cut_on_whole_steps_and_keep_the_order_of_each_customer() -> None:
    minute = 60_000
    rows = [row(1, 0), row(2, 10, "b"), row(3, 59_999), row(4, minute), row(5, 5 * minute)]
    move = move_ahead(0, 0, 0)
    found = list(steps(rows, move, minute))
    assert [(step.starts_ms, step.ends_ms, step.size) for step in found] == [
        (0, minute, 3), (minute, 2 * minute, 1), (5 * minute, 6 * minute, 1),
    ]  # fmt: skip
    assert [[each.number for each in lane] for lane in found[0].lanes] == [[1, 3], [2]]
