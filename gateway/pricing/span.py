"""Spans: lengths of calendar time, as catalogs, settings and people write them."""

import re
from dataclasses import dataclass
from difflib import get_close_matches

NEVER_ENDS_MS = 2**53 - 1
"""The end of a window that never resets: the largest integer that is exact in Lua."""

DAY_MS = 86_400_000
SPAN_YEARS_MAX = 100
"""No span is longer; boundaries stay far inside what a date can express."""

_FIXED_MS = {
    "second": 1_000,
    "minute": 60_000,
    "hour": 3_600_000,
    "day": DAY_MS,
    "week": 7 * DAY_MS,
}
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
    def is_fixed(self) -> bool:
        """Whether it is counted in seconds to weeks, which have a length of their own."""
        return self.unit in _FIXED_MS

    @property
    def is_within_a_day(self) -> bool:
        """Whether its unit is shorter than a day, so that it is cut in absolute time and not on the wall clock."""
        return self.unit in ("second", "minute", "hour")

    @property
    def length_ms(self) -> int:
        """Milliseconds of a span of fixed length (a day is 24 hours here, as under `first_use`).

        Raises ValueError for months, years, period and never.
        """
        if not self.is_fixed:
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


def _unknown_span(text: str) -> str:
    known = (*_WORDS, *_PLURALS)
    last = text.strip().lower().split(" ")[-1]
    close = get_close_matches(last, known, n=1)
    hint = f"; did you mean {close[0]}?" if close and close[0] != last else ""
    return f"{text!r} is not a span: write hour, 5 hours, day, month (second to year), period or never{hint}"
