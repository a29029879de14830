"""Reads the hash that the scripts keep for one customer and feature."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowState:
    """What one window has counted: base units used between two instants."""

    used: int
    from_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentState:
    """The sums of one stretch of the billing period under one price. Quantities in base units, cost at scale 9."""

    segment: int
    price: str
    entitlement: int
    since_ms: int
    quantity: int
    included: int
    overage: int
    beyond: int
    cost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageState:
    """The windows by name, and the segments of the running billing period in order."""

    windows: Mapping[str, WindowState]
    segments: tuple[SegmentState, ...]
    period_start_ms: int | None

    @classmethod
    def parse(cls, fields: Mapping[bytes, bytes] | Iterable[bytes]) -> "UsageState":
        """From HGETALL's reply, as a mapping or as the flat list that a script returns.

        Raises ValueError when a field is not one the scripts write.
        """
        if not isinstance(fields, Mapping):
            flat = list(fields)
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
        texts = {name.decode(): value.decode() for name, value in fields.items()}
        start = texts.get("period:start")
        return cls(
            windows=_windows(texts),
            segments=_segments(texts),
            period_start_ms=None if start is None else int(start),
        )


def _windows(texts: Mapping[str, str]) -> dict[str, WindowState]:
    names = [name.removesuffix(":end") for name in texts if name.endswith(":end")]
    return {
        name: WindowState(
            used=int(texts[f"{name}:used"]),
            from_ms=int(texts[f"{name}:from"]),
            end_ms=int(texts[f"{name}:end"]),
        )
        for name in names
    }


def _segments(texts: Mapping[str, str]) -> tuple[SegmentState, ...]:
    if "segment" not in texts:
        return ()
    current = int(texts["segment"])
    return tuple(
        _segment(texts, k, "" if k == current else f"segment.{k}.") for k in range(1, current + 1)
    )


def _segment(texts: Mapping[str, str], number: int, prefix: str) -> SegmentState:
    def integer(name: str) -> int:
        return int(texts[prefix + name])

    return SegmentState(
        segment=number,
        price=texts[f"{prefix}price"],
        entitlement=integer("entitlement"),
        since_ms=integer("since_ms"),
        quantity=integer("quantity"),
        included=integer("included"),
        overage=integer("overage"),
        beyond=integer("beyond"),
        cost=integer("cost"),
    )
