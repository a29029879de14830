"""Windows: the half-open spans of time in which usage accumulates, and when they reset.

Everything is an integer number of milliseconds since 1970-01-01 UTC. Boundaries of a day and longer are
wall-clock times in the customer's zone, always counted from one origin, so that nothing drifts:
an anchor on 31 January gives 28 February and then 31 March again.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.pricing.span import DAY_MS, NEVER_ENDS_MS, Span

__all__ = [
    "NEVER_ENDS_MS",
    "Align",
    "Span",
    "Window",
    "align_problem",
    "format_instant",
    "next_resets",
    "window_at",
    "zone_named",
]

Align = Literal["calendar", "anchor", "first_use"]

BOUNDARY_STEPS_MAX = 8
"""A boundary is found within so many steps of its estimate; a zone that needs more does not exist."""

_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}
# A wall time is kept as if it were UTC; only `_instant_ms` and `_local` know the zone it is read in.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONDAY = datetime(1969, 12, 29, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


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
    if align == "calendar" and span.is_within_a_day and span.length_ms >= DAY_MS:
        return (
            f"calendar windows start anew at midnight: {span} does not fit in a day; count in days"
        )
    if align == "first_use" and not span.is_fixed:
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


def format_instant(at_ms: int) -> str:
    """RFC 3339 in UTC with Z, milliseconds only where there are some; never is the last day there is."""
    if at_ms >= NEVER_ENDS_MS:
        return "9999-12-31T23:59:59Z"
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec="milliseconds" if at.microsecond else "seconds")[:-6] + "Z"


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
    if not span.is_within_a_day:
        return _walled(span, at_ms, _MONDAY if span.unit == "week" else _EPOCH, None, zone)
    if problem := align_problem(span, "calendar"):
        raise ValueError(problem)
    day = _walled(Span("day"), at_ms, _EPOCH, None, zone)
    start_ms = at_ms - (at_ms - day.start_ms) % span.length_ms
    return Window(start_ms, min(start_ms + span.length_ms, day.end_ms))


def _anchored(span: Span, at_ms: int, anchor_ms: int, zone: ZoneInfo) -> Window:
    if not span.is_within_a_day:
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
    if not MINYEAR <= year <= MAXYEAR:
        raise OverflowError(f"year {year} is beyond the calendar")
    return origin.replace(year=year, month=month, day=min(origin.day, monthrange(year, month)[1]))


def _local(at_ms: int, zone: ZoneInfo) -> datetime:
    """The wall time of an instant."""
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return moment.astimezone(zone).replace(tzinfo=UTC, fold=0)


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
