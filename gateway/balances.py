"""The enforcing numbers of one customer at one instant, as a check of one unit would answer."""

from typing import Any

import hiredis

from gateway.codec import Item, rfc3339, to_wire
from gateway.connection import Connection, RedisUnavailable
from gateway.entitlements import Entitlements
from gateway.errors import NotFound
from gateway.pricing.ask import PERIOD, Ask, ask
from gateway.pricing.decision import Counts, Decision, WindowCount, decide, describe
from gateway.pricing.entitlement import Entitlement
from gateway.pricing.money import format_amount, format_quantity
from gateway.uncounted import refusal, uncounted
from lua import keys, load
from lua.state import UsageState

ATTEMPTS_MAX = 4

STANDING = ("message", "balance", "available", "used", "limit", "resetsAt", "windows")
"""What a balance shows of the state itself; the rest says what one more unit would be answered."""

REFUSING = (
    *("allowed", "reason", "httpStatus", "message", "balance", "available"),
    *("retryAfterMs", "sources", "cost", "actions"),
)
"""What a balance takes from the refusal, where no more would pass whatever the counters say."""


class Balances:
    """Reads the state of a customer in one script call and answers by the reference decision."""

    def __init__(self, connection: Connection, entitlements: Entitlements) -> None:
        self._connection = connection
        self._entitlements = entitlements
        self._script = load("balances")

    async def of(self, customer: str, feature: str | None = None) -> dict[str, Any]:
        """The wire form of GET …/balances. Raises NotFound, Outage."""
        for _ in range(ATTEMPTS_MAX):
            holding = await self._entitlements.load(customer)
            if holding is None:
                raise NotFound("There is no such customer.", code="customer_unknown")
            features = list(holding.entitlement.features)
            reply = await self._read(customer, features)
            entitlement = holding.entitlement.at(reply[0])
            # The script read the version in the same instant as the numbers.
            if reply[3] == b"%d" % holding.version and list(entitlement.features) == features:
                return self._answer(entitlement, reply, feature)
            if reply[3] == b"%d" % holding.version:
                reply = await self._read(customer, list(entitlement.features))
                return self._answer(entitlement, reply, feature)
        raise RedisUnavailable("The customer kept changing while its balances were read.")

    async def _read(self, customer: str, features: list[str]) -> list[Any]:
        operands, _ = self._script.bind(
            meta=keys.meta(keys.bucket_of(customer)),
            entitlement=keys.entitlement(customer),
            usage=[keys.usage(customer, feature) for feature in features],
        )
        command = ("EVALSHA", self._script.sha, len(operands), *operands)
        reply = await self._connection.send(command)
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            await self._connection.execute("SCRIPT", "LOAD", self._script.source)
            reply = await self._connection.send(command)
        if isinstance(reply, hiredis.ReplyError):
            raise RedisUnavailable(f"Redis answered: {reply}")
        answer: list[Any] = reply
        return answer

    def _answer(
        self, entitlement: Entitlement, reply: list[Any], feature: str | None
    ) -> dict[str, Any]:
        now_ms = reply[0]
        found = {}
        spent = 0
        period = None
        for name, flat in zip(entitlement.features, reply[4:], strict=True):
            asked = ask(entitlement, entitlement.features[name], now_ms)
            period = asked
            state = UsageState.parse(flat)
            found[name] = self._feature(asked, state, now_ms)
            if _period_is_open(asked, state):
                spent += sum(segment.cost for segment in state.segments)
        if feature is not None:
            if feature not in found:
                raise NotFound("The customer's plan has no such feature.", code="feature_unknown")
            return found[feature]
        return {
            "customer": entitlement.customer,
            "at": rfc3339(now_ms),
            "plan": entitlement.plan or None,
            "catalog": entitlement.catalog or None,
            "period": None
            if period is None
            else {
                "start": rfc3339(period.period_start_ms),
                "end": rfc3339(period.windows[0].end_ms),
            },
            "features": found,
            "credits": {},
            "spend": {
                "amount": format_amount(spent),
                "cap": None,
                "currency": entitlement.currency or None,
            },
        }

    def _feature(self, asked: Ask, state: UsageState, now_ms: int) -> dict[str, Any]:
        refused = _refused(asked, now_ms)
        if asked.feature.type == "boolean":
            return refused or to_wire(_granted(asked, now_ms))
        counts = counts_of(asked, state, now_ms)
        one, none = (
            to_wire(
                describe(asked, decide(asked, counts, quantity), at_ms=now_ms, decision_id=None)
            )
            for quantity in (10**asked.feature.scale, 0)
        )
        # Whether one more would pass, beside the numbers as they stand without it.
        wire = one | ({name: none[name] for name in STANDING} if one["allowed"] else {})
        if refused is not None:
            wire |= {name: refused[name] for name in REFUSING}
        wire["held"] = format_quantity(0, asked.feature.scale)
        wire["overage"] = format_quantity(counts.segment_overage, asked.feature.scale)
        return wire


def _refused(asked: Ask, now_ms: int) -> dict[str, Any] | None:
    """What a check would answer where the entitlement itself denies: suspended, ended, not begun."""
    item = Item(feature=asked.feature.feature)
    reason = refusal(asked.entitlement, item, now_ms, known=True)
    if reason is None:
        return None
    customer = asked.entitlement.customer
    return to_wire(uncounted(customer, item, asked.entitlement, reason, now_ms))


def counts_of(asked: Ask, state: UsageState, now_ms: int) -> Counts:
    """The state rolled to now, as lua/lib/window.lua rolls it."""
    windows = []
    for window in asked.windows:
        stored = state.windows.get(window.name)
        ended = stored is None or stored.end_ms <= now_ms
        moved = stored is not None and window.name == PERIOD and stored.end_ms != window.end_ms
        if stored is None or ended or moved:
            end_ms = now_ms + window.length_ms if window.length_ms else window.end_ms
            windows.append(WindowCount(0, end_ms))
        else:
            end_ms = stored.end_ms if window.length_ms else window.end_ms
            windows.append(WindowCount(stored.used, end_ms))
    if not _period_is_open(asked, state) or not state.segments:
        return Counts(windows=windows)
    segment = state.segments[-1]
    if segment.price != asked.price_id:
        return Counts(windows=windows)
    return Counts(windows=windows, segment_overage=segment.overage, segment_cost=segment.cost)


def _period_is_open(asked: Ask, state: UsageState) -> bool:
    stored = state.windows.get(PERIOD)
    return stored is not None and stored.end_ms == asked.windows[0].end_ms


def _granted(asked: Ask, now_ms: int) -> Decision:
    entitlement = asked.entitlement
    return Decision(
        ask=asked,
        customer=entitlement.customer,
        feature=asked.feature.feature,
        allowed=True,
        reason="granted",
        http_status=200,
        quantity=0,
        at_ms=now_ms,
        balance=None,
        available=None,
        plan=entitlement.plan,
        catalog=entitlement.catalog,
        currency=entitlement.currency,
    )
