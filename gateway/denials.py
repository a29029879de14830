"""Denials, shipped for support: each with an id, in full up to a rate, never in the way of an answer.

They change nothing and are no part of a balance. What is above the rate is still counted in
tallygate_decisions_total; what is in memory when the process dies is lost.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence

import msgspec
import structlog

from gateway.codec import to_wire
from gateway.connection import Connection
from gateway.errors import GatewayError
from gateway.pricing.decision import Decision
from lua import keys

WAITING_MAX = 200
"""Denials kept between two shipments; more are counted, not shipped."""

SHIP_EVERY_S = 0.25
STREAM_MAX = 1_000
"""Denials of one bucket that wait in Redis for Postgres; the oldest go first."""

UNKNOWN = frozenset({"customer_unknown", "feature_unknown", "not_attempted"})
"""Denials about what does not exist are not written anywhere; those that only follow another neither."""

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


class Denials:
    """The denials of this process on their way to Redis."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[Decision] = deque()

    def note(self, decisions: Sequence[Decision]) -> None:
        """Give each denial its id; the answer carries it, and it is shipped soon."""
        for decision in decisions:
            if decision.allowed or decision.reason in UNKNOWN:
                continue
            if len(self._waiting) >= WAITING_MAX:
                return
            decision.id = f"d-{keys.bucket_of(decision.customer):04d}-{secrets.token_hex(8)}"
            self._waiting.append(decision)

    async def run(self) -> None:
        """Ship what waits, a few times a second, until cancelled."""
        while True:
            await asyncio.sleep(SHIP_EVERY_S)
            try:
                await self.ship()
            except GatewayError as error:
                log.warning("denials_not_shipped", error=str(error))

    async def ship(self) -> None:
        """Ship what waits. Raises Outage; what was not sent then is dropped."""
        sent = []
        while self._waiting:
            decision = self._waiting.popleft()
            sent.append(self._connection.send(_entry(decision)))
        await asyncio.gather(*sent)


def _entry(decision: Decision) -> tuple[str | bytes | int, ...]:
    """XADD of one denial; reconciler/denials.py reads it."""
    stream = keys.denied(keys.bucket_of(decision.customer))
    return (
        *("XADD", stream, "MAXLEN", "~", STREAM_MAX, "*"),
        *("id", decision.id or "", "t", decision.at_ms, "c", decision.customer),
        *("feature", decision.feature, "q", decision.quantity, "reason", decision.reason),
        *("doc", _encode(to_wire(decision))),
    )
