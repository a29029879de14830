"""The table a benchmark prints: medians, and ratios within the same run."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant's figures."""

    name: str
    per_second: float
    median_ms: float
    p99_ms: float


def table(rows: Sequence[Row], *, baseline: str, floor: str) -> str:
    """A Markdown table with each row's rate as a ratio to the ceiling and to the floor."""
    rates = {row.name: row.per_second for row in rows}
    lines = [
        f"| | requests/s | of the {baseline} | × the {floor} | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.name} | {row.per_second:,.0f} | {row.per_second / rates[baseline]:.2f} "
            f"| {row.per_second / rates[floor]:.1f} | {row.median_ms:.2f} | {row.p99_ms:.2f} |"
        )
    return "\n".join(lines) + "\n"
