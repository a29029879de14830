"""What tests of windows share: zones with every kind of clock, and short ways to ask."""

from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.pricing.window import Align, Span, Window, window_at

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MONTH = Span("month")
ALIGNS: tuple[Align, ...] = ("calendar", "anchor")
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
    align: Align,
    at_ms: int,
    *,
    anchor_ms: int = 0,
    zone: str = "UTC",
    period: Span = MONTH,
) -> Window:
    return window_at(
        Span.parse(span), align, at_ms=at_ms, anchor_ms=anchor_ms, zone=zone, period=period
    )
