"""A subscription as it is shown: its phases put together again."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from gateway.pricing.subscription import billing_period_at
from gateway.pricing.window import format_instant
from reconciler.phases import Account, Phase, phase_at, subscription_of


def subscription_plain(
    connection: Connection[Any], account: Account, phases: Sequence[Phase], now_ms: int
) -> dict[str, Any] | None:
    """The subscription as it is shown; None when there never was one."""
    place = phase_at(phases, now_ms)
    if place is None:
        return None
    phase = phases[place]
    last = chain_of(phases, place)[-1]
    running = phase.covers(now_ms)
    period = None
    if running:
        window = billing_period_at(subscription_of(connection, account, phase), now_ms)
        period = {"start": format_instant(window.start_ms), "end": format_instant(window.end_ms)}
    following = phases[place + 1] if place + 1 < len(phases) else None
    return {
        "plan": phase.plan,
        "quantity": phase.quantity,
        "status": "running" if running else "scheduled" if now_ms < phase.starts_ms else "ended",
        "startsAt": format_instant(chain_of(phases, place)[0].starts_ms),
        "endsAt": None if last.ends_ms is None else format_instant(last.ends_ms),
        "anchor": format_instant(phase.anchor_ms),
        "catalog": phase.catalog,
        "overrides": phase.overrides,
        "period": period,
        "next": following
        and {
            "startsAt": format_instant(following.starts_ms),
            "plan": following.plan,
            "catalog": following.catalog,
        },
    }


def chain_of(phases: Sequence[Phase], place: int) -> list[Phase]:
    """The phases that follow each other without a gap around one of them."""
    first = last = place
    while first > 0 and phases[first - 1].ends_ms == phases[first].starts_ms:
        first -= 1
    while last + 1 < len(phases) and phases[last].ends_ms == phases[last + 1].starts_ms:
        last += 1
    return list(phases[first : last + 1])
