"""Reads the numbers that lua/lib/waterfall.lua returns back into outcomes."""

from collections.abc import Sequence

from gateway.pricing.decision import Outcome, WindowCount

HEAD = 5
"""Numbers before the first item: code, now_ms, epoch, seq, items."""

ITEM = 9
"""Numbers of an item before its windows."""


def read_outcomes(numbers: Sequence[int]) -> list[Outcome]:
    """The outcome of each item, in the order they were sent."""
    outcomes = []
    at = HEAD
    for _ in range(numbers[4]):
        windows_at = at + ITEM
        ends = windows_at + 2 * numbers[windows_at - 1]
        windows = [
            WindowCount(used, end_ms)
            for used, end_ms in zip(
                numbers[windows_at:ends:2], numbers[windows_at + 1 : ends : 2], strict=True
            )
        ]
        denied, quantity, included, overage, beyond, cost, segment_overage, segment_cost = numbers[
            at : windows_at - 1
        ]
        outcomes.append(
            Outcome(
                denied == 1,
                quantity,
                included,
                overage,
                beyond,
                cost,
                segment_overage,
                segment_cost,
                windows,
            )
        )
        at = ends
    return outcomes
