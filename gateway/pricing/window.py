"""Windows: the half-open spans of time in which usage accumulates, and when they reset.

Everything is an integer number of milliseconds since 1970-01-01 UTC. Boundaries of a day and longer are
wall-clock times in the customer's zone, always counted from one origin, so that nothing drifts:
an anchor on 31 January gives 28 February and then 31 March again.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Align = Literal["calendar", "anchor", "first_use"]

NEVER_ENDS_MS = 2**53 - 1
"""The end of a window that never resets: the largest integer that is exact in Lua."""

DAY_MS = 86_400_000
SPAN_YEARS_MAX = 100
"""No span is longer; boundaries stay far inside what a date can express."""
BOUNDARY_STEPS_MAX = 8
"""A boundary is found within so many steps of its estimate; a zone that needs more does not exist."""

_FIXED_MS = {
    "second": 1_000,
    "minute": 60_000,
    "hour": 3_600_000,
    "day": DAY_MS,
    "week": 7 * DAY_MS,
}
_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}
_NOMINAL_MS = {**_FIXED_MS, "month": 30 * DAY_MS, "year": 365 * DAY_MS}
_UNITS = tuple(_NOMINAL_MS)
_WORDS = {
    "secondly": ("second", 1),
    "minutely": ("minute", 1),
    "hourly": ("hour", 1),
    "daily": ("day", 1),
    "weekly": ("week", 1),
    "monthly": ("month", 1),
    "quarter": ("month", 3),
    "quarterly": ("month", 3),
    "yearly": ("year", 1),
    "annual": ("year", 1),
    "annually": ("year", 1),
    "billing period": ("period", 1),
    "billing_period": ("period", 1),
    "forever": ("never", 1),
    "lifetime": ("never", 1),
    **{unit: (unit, 1) for unit in (*_UNITS, "period", "never")},
}
_PLURALS = {f"{word}s": word for word in (*_UNITS, "quarter")}
_SPAN = re.compile(r"(?:every +)?(?:([0-9]{1,10}) +)?([a-z]+(?:[ _]period)?)")
_EPOCH = datetime(1970, 1, 1)
_MONDAY = datetime(1969, 12, 29)
_MILLISECOND = timedelta(milliseconds=1)
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Span:
    """A length of calendar time: `count` of a unit, or the billing period, or never.

    `unit` is second, minute, hour, day, week, month, year, period or never; `count` is 1 for the last two.
    """

    unit: str
    count: int = 1

    def __post_init__(self) -> None:
        if self.unit in ("period", "never"):
            if self.count != 1:
                raise ValueError(f"{self.unit} cannot be counted; write it alone")
            return
        if self.unit not in _NOMINAL_MS:
            raise ValueError(_unknown_span(self.unit))
        if self.count < 1:
            raise ValueError(f"a span is at least 1 {self.unit}, not {self.count}")
        if _NOMINAL_MS[self.unit] * self.count > SPAN_YEARS_MAX * _NOMINAL_MS["year"]:
            raise ValueError(f"{self} is longer than {SPAN_YEARS_MAX} years; write never")

    @classmethod
    def parse(cls, text: str) -> "Span":
        """Read "hour", "5 hours", "hourly", "quarter", "period" or "never"; raises ValueError."""
        match = _SPAN.fullmatch(text.strip().lower())
        if match is None:
            raise ValueError(_unknown_span(text))
        number, word = match.groups()
        word = _PLURALS.get(word, word)
        if word not in _WORDS or (number is not None and word.endswith("ly")):
            raise ValueError(_unknown_span(text))
        unit, count = _WORDS[word]
        return cls(unit, count * int(number or 1))

    def __str__(self) -> str:
        return self.unit if self.count == 1 else f"{self.count} {self.unit}s"

    @property
    def length_ms(self) -> int:
        """Milliseconds of a span of fixed length (a day is 24 hours here, as under `first_use`).

        Raises ValueError for months, years, period and never.
        """
        if self.unit not in _FIXED_MS:
            raise ValueError(f"{self} has no fixed length")
        return _FIXED_MS[self.unit] * self.count

    @property
    def nominal_ms(self) -> int:
        """About how long it is, for putting spans in order: a month counts 30 days, a year 365.

        Raises ValueError for period, whose length only the subscription knows.
        """
        if self.unit == "period":
            raise ValueError("the length of the billing period is the subscription's")
        return NEVER_ENDS_MS if self.unit == "never" else _NOMINAL_MS[self.unit] * self.count


@dataclass(frozen=True, slots=True)
class Window:
    """The half-open span `[start_ms, end_ms)` in which usage accumulates."""

    start_ms: int
    end_ms: int

    def __post_init__(self) -> None:
        assert self.start_ms < self.end_ms, "a window must have length"

    def __contains__(self, at_ms: int) -> bool:
        return self.start_ms <= at_ms < self.end_ms


def align_problem(span: Span, align: Align) -> str | None:
    """Why a span cannot have this alignment, for the catalog's check; None when it can."""
    if span.unit in ("period", "never"):
        return f"{span} is not aligned; leave align out" if align != "anchor" else None
    if align == "calendar" and _is_within_a_day(span) and span.length_ms >= DAY_MS:
        return (
            f"calendar windows start anew at midnight: {span} does not fit in a day; count in days"
        )
    if align == "first_use" and span.unit not in _FIXED_MS:
        return f"first_use needs a fixed length; a {span.unit} has none: use days, or align: anchor"
    return None


def window_at(
    span: Span, align: Align, *, at_ms: int, anchor_ms: int, zone: str, period: Span
) -> Window:
    """The window that contains `at_ms` (0 or later).

    `anchor_ms` and `period` are the subscription's; `zone` is an IANA name. Raises ValueError for an unknown
    zone, for `first_use` (only the deciding script knows the first use) and for what `align_problem` names.
    """
    if at_ms < 0:
        raise ValueError(f"time {at_ms} is before 1970")
    if span.unit == "never":
        # Before the anchor nothing has begun that could last for ever.
        return Window(anchor_ms, NEVER_ENDS_MS) if at_ms >= anchor_ms else Window(0, anchor_ms)
    if span.unit == "period":
        span, align = period, "anchor"
    if align == "first_use":
        raise ValueError("a first_use window begins at the first use, which only the script knows")
    try:
        if align == "calendar":
            found = _calendar(span, at_ms, zone_named(zone))
        else:
            found = _anchored(span, at_ms, anchor_ms, zone_named(zone))
    except OverflowError as error:
        raise ValueError(f"time {at_ms} or anchor {anchor_ms} is beyond the calendar") from error
    # A window that began before 1970 is cut there: no time in a script is negative.
    return found if found.start_ms >= 0 else Window(0, found.end_ms)


def next_resets(
    span: Span,
    align: Align,
    *,
    at_ms: int,
    anchor_ms: int,
    zone: str,
    period: Span,
    count: int,
) -> list[int]:
    """The next `count` instants after `at_ms` at which a window of this span ends; none for never."""
    resets: list[int] = []
    while len(resets) < count:
        window = window_at(span, align, at_ms=at_ms, anchor_ms=anchor_ms, zone=zone, period=period)
        if window.end_ms == NEVER_ENDS_MS:
            break
        at_ms = window.end_ms
        resets.append(at_ms)
    return resets


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo:
    """The time zone with an IANA name; raises ValueError for one that does not exist."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"{name!r} is not a time zone; write one like Europe/Berlin or UTC"
        ) from error


def _calendar(span: Span, at_ms: int, zone: ZoneInfo) -> Window:
    if not _is_within_a_day(span):
        return _walled(span, at_ms, _MONDAY if span.unit == "week" else _EPOCH, None, zone)
    if problem := align_problem(span, "calendar"):
        raise ValueError(problem)
    day = _walled(Span("day"), at_ms, _EPOCH, None, zone)
    start_ms = at_ms - (at_ms - day.start_ms) % span.length_ms
    return Window(start_ms, min(start_ms + span.length_ms, day.end_ms))


def _anchored(span: Span, at_ms: int, anchor_ms: int, zone: ZoneInfo) -> Window:
    if not _is_within_a_day(span):
        return _walled(span, at_ms, _local(anchor_ms, zone), anchor_ms, zone)
    start_ms = at_ms - (at_ms - anchor_ms) % span.length_ms
    return Window(start_ms, start_ms + span.length_ms)


def _walled(
    span: Span, at_ms: int, origin: datetime, origin_ms: int | None, zone: ZoneInfo
) -> Window:
    """The window between two boundaries `origin + k spans`, in wall-clock time.

    `origin_ms` says which instant the origin is, where its wall time occurs twice.
    """

    def boundary(number: int) -> int:
        if number == 0 and origin_ms is not None:
            return origin_ms
        return _instant_ms(_plus(origin, span, number), zone)

    number = _spans_between(origin, _local(at_ms, zone), span)
    for _ in range(BOUNDARY_STEPS_MAX):
        start_ms, end_ms = boundary(number), boundary(number + 1)
        if start_ms <= at_ms < end_ms:
            return Window(start_ms, end_ms)
        number += -1 if at_ms < start_ms else 1
    raise AssertionError(f"no boundary of {span} found around {at_ms} in {zone.key}")


def _is_within_a_day(span: Span) -> bool:
    return span.unit in ("second", "minute", "hour")


def _spans_between(origin: datetime, local: datetime, span: Span) -> int:
    """How many whole spans lie between two wall times, give or take one."""
    if span.unit in _DAYS:
        return (local.date() - origin.date()).days // (_DAYS[span.unit] * span.count)
    months = (local.year - origin.year) * 12 + local.month - origin.month
    return months // (_MONTHS[span.unit] * span.count)


def _plus(origin: datetime, span: Span, number: int) -> datetime:
    """The wall time `number` spans after the origin; a day its month lacks becomes the month's last."""
    if span.unit in _DAYS:
        return origin + timedelta(days=number * span.count * _DAYS[span.unit])
    months = origin.year * 12 + origin.month - 1 + number * span.count * _MONTHS[span.unit]
    year, month = months // 12, months % 12 + 1
    if not datetime.min.year <= year <= datetime.max.year:
        raise OverflowError(f"year {year} is beyond the calendar")
    return origin.replace(year=year, month=month, day=min(origin.day, monthrange(year, month)[1]))


def _local(at_ms: int, zone: ZoneInfo) -> datetime:
    """The wall time of an instant, without its zone."""
    moment = (_EPOCH + timedelta(milliseconds=at_ms)).replace(tzinfo=_UTC)
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _instant_ms(local: datetime, zone: ZoneInfo) -> int:
    """The first instant of a wall time; for one that a clock change skips, the instant of the change."""
    before = _offset_ms(local, zone, 0)
    after = _offset_ms(local, zone, 1)
    local_ms = (local - _EPOCH) // _MILLISECOND
    if after <= before:
        return local_ms - before
    # Skipped: the change lies in (local - after, local - before], and the offset tells on which side we are.
    low_ms, high_ms = local_ms - after, local_ms - before
    while high_ms - low_ms > 1:
        middle_ms = (low_ms + high_ms) // 2
        if (_local(middle_ms, zone) - _EPOCH) // _MILLISECOND - middle_ms == before:
            low_ms = middle_ms
        else:
            high_ms = middle_ms
    return high_ms


def _offset_ms(local: datetime, zone: ZoneInfo, fold: int) -> int:
    offset = local.replace(tzinfo=zone, fold=fold).utcoffset()
    assert offset is not None, "a zone always has an offset"
    return offset // _MILLISECOND


def _unknown_span(text: str) -> str:
    known = (*_WORDS, *_PLURALS)
    last = text.strip().lower().split(" ")[-1]
    close = get_close_matches(last, known, n=1)
    hint = f"; did you mean {close[0]}?" if close and close[0] != last else ""
    return f"{text!r} is not a span: write hour, 5 hours, day, month (second to year), period or never{hint}"
