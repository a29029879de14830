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
        (
            denied,
            quantity,
            included,
            overage,
            beyond,
            cost,
            segment_overage,
            segment_cost,
            windows,
        ) = numbers[at : at + ITEM]
        at += ITEM
        ends = at + 2 * windows
        outcomes.append(
            Outcome(
                denied=denied == 1,
                quantity=quantity,
                included=included,
                overage=overage,
                beyond=beyond,
                cost=cost,
                segment_overage=segment_overage,
                segment_cost=segment_cost,
                windows=[
                    WindowCount(used=numbers[i], end_ms=numbers[i + 1]) for i in range(at, ends, 2)
                ],
            )
        )
        at = ends
    return outcomes
