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

        Raises ValueError or KeyError when the fields are not what the scripts write.
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

    def to_fields(self) -> dict[str, str]:
        """The hash that `parse` reads as this state, as lua/lib/log.lua writes it."""
        fields: dict[str, str] = {}
        for name, window in self.windows.items():
            fields[f"{name}:used"] = str(window.used)
            fields[f"{name}:from"] = str(window.from_ms)
            fields[f"{name}:end"] = str(window.end_ms)
        if self.period_start_ms is not None:
            fields["period:start"] = str(self.period_start_ms)
        first = 0
        for segment in self.segments:
            prefix = "" if segment is self.segments[-1] else f"segment.{segment.segment}."
            fields[f"{prefix}first"] = str(first)
            for name in _KEPT:
                fields[f"{prefix}{name}"] = str(getattr(segment, name))
            first += segment.quantity
        if self.segments:
            fields["segment"] = str(len(self.segments))
        return fields


_KEPT = ("price", "entitlement", "since_ms", "overage", "beyond", "cost")
"""Fields of a segment that are kept as they are; its quantity is the difference of two `first`s."""


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
    prefixes = [*(f"segment.{k}." for k in range(1, current)), ""]
    firsts = [int(texts[f"{prefix}first"]) for prefix in prefixes]
    firsts.append(int(texts["period:used"]))
    return tuple(
        _segment(texts, k + 1, prefix, firsts[k + 1] - firsts[k])
        for k, prefix in enumerate(prefixes)
    )


def _segment(texts: Mapping[str, str], number: int, prefix: str, quantity: int) -> SegmentState:
    def integer(name: str) -> int:
        return int(texts[prefix + name])

    overage, beyond = integer("overage"), integer("beyond")
    return SegmentState(
        segment=number,
        price=texts[f"{prefix}price"],
        entitlement=integer("entitlement"),
        since_ms=integer("since_ms"),
        quantity=quantity,
        included=quantity - overage - beyond,
        overage=overage,
        beyond=beyond,
        cost=integer("cost"),
    )
