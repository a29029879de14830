"""Decides requests: entitlement from memory, one script call, the answer from its numbers."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from gateway.codec import Item, check_customer, invalid
from gateway.counters import Counters
from gateway.denials import Denials
from gateway.entitlements import Entitlements, Holding, Prepared
from gateway.errors import Conflict, Invalid, NotFound, Outage, Overloaded
from gateway.idempotency import replay_of
from gateway.metrics import Metrics
from gateway.outcome import read_outcomes
from gateway.pricing.ask import Ask, ask
from gateway.pricing.decision import Decision, describe
from gateway.pricing.entitlement import Entitlement
from gateway.quantities import quantity_of
from gateway.rendering import Rendered
from gateway.scripts import Scripts
from gateway.uncounted import refusal, uncounted
from gateway.usage_request import UsageRequest, Verb
from lua.reply import Code

ATTEMPTS_MAX = 6
"""Calls of the script for one decision: each but the last said what was out of date."""

Asked = Item | UsageRequest

ADOPTION_WAIT_MS = 200
ADOPTION_POLL_MS = 20

_DONE, _DENIED = int(Code.DONE), int(Code.DENIED)


class Enforcer:
    """The decision, from a request to its answer."""

    def __init__(
        self,
        scripts: Scripts,
        counters: Counters,
        entitlements: Entitlements,
        denials: Denials,
        metrics: Metrics,
        *,
        knows_feature: Callable[[str], bool],
        idempotency_retention_ms: int,
        in_flight_max: int,
    ) -> None:
        self._scripts = scripts
        self._counters = counters
        self._entitlements = entitlements
        self._denials = denials
        self._metrics = metrics
        self._knows_feature = knows_feature
        self._retention_ms = idempotency_retention_ms
        self._in_flight_max = in_flight_max

    async def consume(self, request: UsageRequest) -> Decision:
        """Decide and count one feature. Raises GatewayError; a denial is returned."""
        return (await self.decide("consume", request))[0]

    async def decide(self, verb: Verb, request: UsageRequest) -> list[Decision]:
        """One decision for each item, in the order asked: all counted, or none.

        Raises GatewayError; on `track` also NotFound for an unknown customer or feature.
        """
        decisions = await self.answer(verb, request, render=False)
        assert isinstance(decisions, list), "rendered only when asked to"
        return decisions

    def _noted(self, verb: Verb, decisions: list[Decision]) -> list[Decision]:
        for decision in decisions:
            self._metrics.decided(verb, decision.feature, decision.plan or "", decision.reason)
        if verb == "consume" and not decisions[0].allowed:
            self._denials.note(decisions)
        return decisions

    async def answer(
        self, verb: Verb, request: UsageRequest, *, render: bool = True
    ) -> list[Decision] | Rendered:
        """As `decide`, or the finished JSON of the usual answer.

        Asks the script until nothing was out of date, a bounded number of times.
        """
        if self._counters.deciding >= self._in_flight_max:
            self._metrics.overload()
            raise Overloaded
        items = request.asked()
        replay = None
        if request.idempotency_key is not None or request.replay is not None:
            replay = replay_of(verb, request, self._retention_ms)
        holding = self._entitlements.held(request.customer)
        if holding is None:
            check_customer(request.customer)
        at_ms = self._scripts.now_ms()
        attempts, polls, read_anew = 0, 0, False
        while attempts < ATTEMPTS_MAX:
            attempts += 1
            entitlement = None if holding is None else holding.entitlement.at(at_ms)
            if holding is None or entitlement is None or not _is_counted(entitlement, items, at_ms):
                # No script confirms such an answer, so what it rests on is read anew first.
                if read_anew:
                    plain = self._without_script(verb, request, items, entitlement, at_ms)
                    return self._noted(verb, plain)
                read_anew = True
                holding, at_ms = await asyncio.gather(
                    self._entitlements.load(request.customer),
                    self._scripts.read_now_ms(request.customer),
                )
                continue
            prepared = _prepare(holding, entitlement, items, at_ms)
            reply = await self._counters.decide(verb, holding, prepared, request, replay)
            code = reply[0]
            if render and code == _DONE and len(items) == 1:
                rendering = prepared[0][0].rendering
                usual = rendering and rendering.render(reply, _id_of(verb, holding, reply))
                if usual:
                    self._metrics.decided(verb, usual.feature, usual.plan, usual.reason)
                    return usual
            if code in (_DONE, _DENIED):
                asks = [one.ask for one, _ in prepared]
                decision_id = _id_of(verb, holding, reply)
                return self._noted(verb, _decisions(items, entitlement, asks, reply, decision_id))
            if code == Code.REPLAYED:
                return await self._replayed(holding, items, reply)
            if code == Code.STALE_WINDOWS:
                at_ms = reply[1]
            elif code in (Code.STALE_ENTITLEMENT, Code.CUSTOMER_UNKNOWN):
                holding = await self._entitlements.load(request.customer)
            elif code == Code.FENCED and polls * ADOPTION_POLL_MS < ADOPTION_WAIT_MS:
                attempts, polls = attempts - 1, polls + 1
                await self._scripts.ask_for_adoption(holding.bucket)
                await asyncio.sleep(ADOPTION_POLL_MS / 1000)
            else:
                raise _refused(code)
        raise Outage("The customer kept changing while this request was being decided.")

    def _without_script(
        self,
        verb: Verb,
        request: UsageRequest,
        items: Sequence[Asked],
        entitlement: Entitlement | None,
        at_ms: int,
    ) -> list[Decision]:
        """Denials that no counter decides, and boolean features."""
        reasons: list[str | None] = [
            "customer_unknown"
            if entitlement is None
            else refusal(entitlement, item, at_ms, known=self._knows_feature(item.feature))
            for item in items
        ]
        if verb == "track":
            for reason in reasons:
                if reason in ("customer_unknown", "feature_unknown"):
                    raise NotFound(f"There is no such {reason.partition('_')[0]}.", code=reason)
        if entitlement is not None:
            for place, (item, reason) in enumerate(zip(items, reasons, strict=True)):
                if reason is None and entitlement.features[item.feature].type == "boolean":
                    _check_on_or_off(item, "" if len(items) == 1 else f"/items/{place}")
        otherwise = "not_attempted" if any(reasons) else "granted"
        return [
            uncounted(request.customer, item, entitlement, reason or otherwise, at_ms)
            for item, reason in zip(items, reasons, strict=True)
        ]

    async def _replayed(
        self, holding: Holding, items: Sequence[Asked], reply: list[Any]
    ) -> list[Decision]:
        """The earlier answer again, worded by the entitlement it was given under."""
        texts, _, version = reply[4].decode().partition("|")
        numbers = [int(text) for text in texts.split(",")]
        at_ms = numbers[1]
        past = await self._entitlements.past(holding.customer, int(version))
        entitlement = (past or holding.entitlement).at(at_ms)
        asks = []
        for name in dict.fromkeys(item.feature for item in items):
            feature = entitlement.features.get(name)
            if feature is None:
                raise Conflict(
                    "The plan this key was answered under is forgotten.", code="idempotency_expired"
                )
            if feature.type == "metered":
                asks.append(ask(entitlement, feature, at_ms))
        decision_id = _id_of("consume", holding, numbers)
        decisions = _decisions(items, entitlement, asks, numbers, decision_id)
        for decision in decisions:
            decision.replayed = True
        return decisions


def _is_counted(entitlement: Entitlement, items: Sequence[Asked], at_ms: int) -> bool:
    """Whether a script decides: the entitlement runs and has every feature, at least one of them metered."""
    if entitlement.suspended or at_ms < entitlement.starts_ms:
        return False
    if entitlement.ends_ms is not None and at_ms >= entitlement.ends_ms:
        return False
    metered = False
    for item in items:
        feature = entitlement.features.get(item.feature)
        if feature is None:
            return False
        metered = metered or feature.type == "metered"
    return metered


def _prepare(
    holding: Holding, entitlement: Entitlement, items: Sequence[Asked], at_ms: int
) -> list[tuple[Prepared, int]]:
    """The metered features of the request, each once, with its quantities summed. Raises Invalid."""
    if len(items) == 1:
        item = items[0]
        feature = entitlement.features[item.feature]
        quantity = quantity_of(feature, item.quantity, item.variant, item.usage, "")
        return [(holding.prepare(feature, entitlement, at_ms), quantity)]
    sums: dict[str, int] = {}
    for place, item in enumerate(items):
        feature = entitlement.features[item.feature]
        pointer = f"/items/{place}"
        if feature.type == "boolean":
            _check_on_or_off(item, pointer)
            continue
        quantity = quantity_of(feature, item.quantity, item.variant, item.usage, pointer)
        sums[item.feature] = sums.get(item.feature, 0) + quantity
    return [
        (holding.prepare(entitlement.features[name], entitlement, at_ms), quantity)
        for name, quantity in sums.items()
    ]


def _check_on_or_off(item: Asked, pointer: str) -> None:
    """Refuse a quantity of what has none. Raises Invalid."""
    if item.quantity not in (None, 1) or isinstance(item.quantity, float) or item.usage is not None:
        raise invalid(f"{pointer}/quantity", f"{item.feature} is on or off; send no quantity.")


def _id_of(verb: Verb, holding: Holding, numbers: Sequence[int]) -> str | None:
    """The decision's id; a check has none, and a denial is given its own when it is shipped."""
    if verb == "check" or numbers[0] != _DONE:
        return None
    return f"{holding.bucket:04d}-{numbers[2]}-{numbers[3]}"


def _decisions(
    items: Sequence[Asked],
    entitlement: Entitlement,
    asks: Sequence[Ask],
    numbers: Sequence[int],
    decision_id: str | None,
) -> list[Decision]:
    """One decision for each item from the script's numbers, which are in the order of the asks."""
    refused, at_ms = numbers[0] == _DENIED, numbers[1]
    described = {
        one.feature.feature: describe(
            one, outcome, at_ms=at_ms, decision_id=decision_id, refused=refused
        )
        for one, outcome in zip(asks, read_outcomes(numbers), strict=True)
    }
    if len(items) == 1:
        return [described[items[0].feature]]
    on_or_off = "not_attempted" if refused else "granted"
    return [
        described.get(item.feature)
        or uncounted(entitlement.customer, item, entitlement, on_or_off, at_ms)
        for item in items
    ]


def _refused(code: int) -> Outage | Invalid:
    """What a script's refusal means to the caller."""
    if code == Code.KEY_CONFLICT:
        return Invalid(
            "This idempotency key was used before with another payload.",
            code="idempotency_conflict",
        )
    if code == Code.TOO_LARGE:
        return invalid("/quantity", "With this quantity the usage would pass what can be counted.")
    if code == Code.FENCED:
        return Outage("Redis has changed and has not been adopted yet; nothing was counted.")
    if code == Code.CLOCK_DIFFERS:
        return Outage("The clocks of the gateway and of Redis differ by more than 5 seconds.")
    if code == Code.CLOCK_STEPPED_BACK:
        return Outage("The clock of Redis has stepped back by more than a minute.")
    raise AssertionError(f"a code no script returns: {code}")
