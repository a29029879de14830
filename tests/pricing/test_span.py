"""Spans are read in the words people use, and written in one."""

import pytest

from gateway.pricing.span import DAY_MS, Span

HOUR_MS = 3_600_000


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
