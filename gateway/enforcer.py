"""Decides requests: entitlement from memory, one script call, the answer from its numbers."""

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from gateway.auth import Caller
from gateway.codec import Item, Number, invalid
from gateway.connection import Connection
from gateway.counters import NO_FINGERPRINT, Counters, Replay, Stamp
from gateway.entitlements import Entitlements, Holding, Prepared
from gateway.errors import Conflict, Invalid, NotFound, Outage, Overloaded
from gateway.metrics import Metrics
from gateway.outcome import read_outcomes
from gateway.pricing.ask import ask
from gateway.pricing.decision import HTTP_STATUS, Decision, describe
from gateway.pricing.entitlement import Entitlement, FeatureEntitlement
from gateway.quantities import quantity_of
from lua import keys
from lua.reply import Code

Verb = Literal["consume", "check", "track"]

ATTEMPTS_MAX = 6
"""Calls of the script for one decision: each but the last said what was out of date."""

ADOPTION_WAIT_MS = 200
ADOPTION_POLL_MS = 20

_UUID7 = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?7[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_CROCKFORD = {c: i for i, c in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
_pack = msgspec.msgpack.Encoder(order="sorted").encode


@dataclass(slots=True, kw_only=True)
class UsageRequest:
    """One request to decide, however it came: quantities as on the wire, in the feature's own unit."""

    customer: str
    feature: str | None = None
    quantity: Number = None
    variant: str | None = None
    usage: Mapping[str, Number] | None = None
    items: Sequence[Item] | None = None
    idempotency_key: str | None = None
    metadata: dict[str, str] | None = None
    route: str | None = None
    replay: tuple[bytes, int] | None = None
    """A key and its retention in milliseconds, for a proxy's own retries; instead of an idempotency key."""
    request_id: str = ""


class Enforcer:
    """The decision, from a request to its answer."""

    def __init__(
        self,
        connection: Connection,
        counters: Counters,
        entitlements: Entitlements,
        metrics: Metrics,
        *,
        knows_feature: Callable[[str], bool],
        idempotency_retention_ms: int,
        in_flight_max: int,
    ) -> None:
        self._connection = connection
        self._counters = counters
        self._entitlements = entitlements
        self._metrics = metrics
        self._knows_feature = knows_feature
        self._retention_ms = idempotency_retention_ms
        self._in_flight_max = in_flight_max

    async def consume(self, request: UsageRequest, caller: Caller) -> Decision:
        """Decide and count one feature. Raises GatewayError; a denial is returned."""
        return (await self.decide("consume", request, caller))[0]

    async def check(self, request: UsageRequest, caller: Caller) -> Decision:
        """What consume would answer, nothing written."""
        return (await self.decide("check", request, caller))[0]

    async def track(self, request: UsageRequest, caller: Caller) -> Decision:
        """Record usage that has happened. Raises NotFound for an unknown customer or feature."""
        return (await self.decide("track", request, caller))[0]

    async def decide(self, verb: Verb, request: UsageRequest, caller: Caller) -> list[Decision]:
        """One decision for each item, in the order asked: all counted, or none."""
        if self._connection.in_flight >= self._in_flight_max:
            self._metrics.overload()
            raise Overloaded
        items = _items_of(request)
        holding = self._entitlements.held(request.customer)
        if holding is None:
            holding = await self._entitlements.load(request.customer)
        decisions = await self._attempt(verb, request, caller, items, holding)
        for decision in decisions:
            self._metrics.decided(verb, decision.feature, decision.plan or "", decision.reason)
        return decisions

    async def _attempt(
        self,
        verb: Verb,
        request: UsageRequest,
        caller: Caller,
        items: Sequence[Item],
        holding: Holding | None,
    ) -> list[Decision]:
        """Ask the script until nothing was out of date, a bounded number of times."""
        at_ms = self._counters.now_ms()
        adopted_by = time.monotonic() + ADOPTION_WAIT_MS / 1000
        attempts = 0
        read_anew = False
        while attempts < ATTEMPTS_MAX:
            attempts += 1
            entitlement = None if holding is None else holding.entitlement.at(at_ms)
            refusals = [self._refusal(request, item, entitlement, at_ms) for item in items]
            if (
                holding is None
                or entitlement is None
                or any(refusals)
                or _all_granted(items, entitlement)
            ):
                # No script confirms these, so the entitlement and the time they rest on are read anew first.
                if read_anew:
                    return self._without_script(verb, request, items, entitlement, refusals, at_ms)
                holding, at_ms = await asyncio.gather(
                    self._entitlements.load(request.customer), self._redis_ms(request.customer)
                )
                read_anew = True
                continue
            prepared, asked = _prepare(holding, entitlement, items, at_ms)
            stamp = _stamp(request, caller)
            replay = self._replay(verb, request)
            reply = await self._counters.decide(verb, holding, prepared, stamp, replay)
            code = reply[0]
            if code in (Code.DONE, Code.DENIED):
                return _decisions(verb, holding, prepared, asked, entitlement, reply, at_ms)
            if code == Code.REPLAYED:
                return await self._replayed(request, holding, items, reply)
            if code == Code.STALE_WINDOWS:
                at_ms = reply[1]
            elif code in (Code.STALE_ENTITLEMENT, Code.CUSTOMER_UNKNOWN):
                holding = await self._entitlements.load(request.customer)
            elif code == Code.FENCED and time.monotonic() < adopted_by:
                attempts -= 1
                await self._counters.ask_for_adoption(holding.bucket)
                await asyncio.sleep(ADOPTION_POLL_MS / 1000)
            else:
                raise _refused(code)
        raise Outage("The customer kept changing while this request was being decided.")

    async def _redis_ms(self, customer: str) -> int:
        """The time of the customer's bucket as a script would have it now, test clock included."""
        meta = keys.meta(keys.bucket_of(customer))
        (seconds, micros), (offset_ms, clock_ms) = await asyncio.gather(
            self._connection.execute("TIME"),
            self._connection.execute("HMGET", meta, "offset_ms", "clock_ms"),
        )
        now_ms = int(seconds) * 1000 + int(micros) // 1000 + int(offset_ms or 0)
        return max(now_ms, int(clock_ms or 0))

    def _refusal(
        self, request: UsageRequest, item: Item, entitlement: Entitlement | None, at_ms: int
    ) -> str | None:
        """Why no script need be asked, if so."""
        if entitlement is None:
            return "customer_unknown"
        if item.feature not in entitlement.features:
            known = self._knows_feature(item.feature)
            return "feature_not_in_plan" if known else "feature_unknown"
        if entitlement.suspended:
            return "customer_suspended"
        ended = entitlement.ends_ms is not None and at_ms >= entitlement.ends_ms
        return "subscription_ended" if ended or at_ms < entitlement.starts_ms else None

    def _without_script(
        self,
        verb: Verb,
        request: UsageRequest,
        items: Sequence[Item],
        entitlement: Entitlement | None,
        refusals: Sequence[str | None],
        at_ms: int,
    ) -> list[Decision]:
        """Denials that no counter decides, and boolean features."""
        if verb == "track":
            for reason in refusals:
                if reason in ("customer_unknown", "feature_unknown"):
                    raise NotFound(f"There is no such {reason.partition('_')[0]}.", code=reason)
        refused = any(refusals)
        return [
            _plain_decision(
                request,
                item,
                entitlement,
                reason or ("not_attempted" if refused else "granted"),
                at_ms,
            )
            for item, reason in zip(items, refusals, strict=True)
        ]

    def _replay(self, verb: Verb, request: UsageRequest) -> Replay | None:
        if verb == "check":
            return None
        if request.replay is not None:
            proxy_key, retention_ms = request.replay
            field = _digest(b"proxy", request.customer, proxy_key)
            return Replay(field, NO_FINGERPRINT, retention_ms)
        key = request.idempotency_key
        if key is None:
            return None
        made_ms = key_time_ms(key)
        if made_ms is not None and made_ms < time.time_ns() // 1_000_000 - self._retention_ms:
            raise Conflict(
                "This idempotency key was made longer ago than keys are remembered.",
                code="idempotency_expired",
            )
        return Replay(
            _digest(verb.encode(), request.customer, key.encode()),
            _fingerprint(request),
            self._retention_ms,
        )

    async def _replayed(
        self, request: UsageRequest, holding: Holding, items: Sequence[Item], reply: list[Any]
    ) -> list[Decision]:
        """The earlier answer again, worded by the entitlement it was given under."""
        texts, _, version = reply[4].decode().partition("|")
        numbers = [int(text) for text in texts.split(",")]
        at_ms = numbers[1]
        past = await self._entitlements.past(request.customer, int(version))
        entitlement = (past or holding.entitlement).at(at_ms)
        features = {item.feature: entitlement.features.get(item.feature) for item in items}
        asks = {}
        for name, feature in features.items():
            if feature is None:
                raise Conflict(
                    "The plan this key was answered under is forgotten.", code="idempotency_expired"
                )
            if feature.type == "metered":
                asks[name] = ask(entitlement, feature, at_ms)
        outcomes = dict(zip(asks, read_outcomes(numbers), strict=True))
        decision_id = f"{holding.bucket:04d}-{numbers[2]}-{numbers[3]}"
        decisions = []
        for item in items:
            if item.feature in asks:
                outcome = outcomes[item.feature]
                decision = describe(
                    asks[item.feature], outcome, at_ms=at_ms, decision_id=decision_id
                )
            else:
                decision = _plain_decision(request, item, entitlement, "granted", at_ms)
            decision.replayed = True
            decisions.append(decision)
        return decisions


def _items_of(request: UsageRequest) -> Sequence[Item]:
    if request.items is not None:
        return request.items
    assert request.feature is not None, "the endpoint has checked it"
    return (
        Item(
            feature=request.feature,
            quantity=request.quantity,
            variant=request.variant,
            usage=dict(request.usage) if request.usage is not None else None,
        ),
    )


def _all_granted(items: Sequence[Item], entitlement: Entitlement) -> bool:
    return all(entitlement.features[item.feature].type == "boolean" for item in items)


def _prepare(
    holding: Holding, entitlement: Entitlement, items: Sequence[Item], at_ms: int
) -> tuple[list[tuple[Prepared, int]], list[FeatureEntitlement]]:
    """The metered features of the request, each once with its quantities summed, and all in the order asked."""
    sums: dict[str, int] = {}
    asked = []
    for place, item in enumerate(items):
        feature = entitlement.features[item.feature]
        asked.append(feature)
        pointer = "" if len(items) == 1 else f"/items/{place}"
        if feature.type == "boolean":
            if item.quantity not in (None, 1) or item.usage is not None:
                raise invalid(
                    f"{pointer}/quantity", f"{feature.name} is on or off; send no quantity."
                )
            continue
        quantity = quantity_of(feature, item.quantity, item.variant, item.usage, pointer)
        sums[item.feature] = sums.get(item.feature, 0) + quantity
    prepared = [
        (holding.prepare(entitlement.features[name], entitlement, at_ms), quantity)
        for name, quantity in sums.items()
    ]
    return prepared, asked


def _decisions(
    verb: Verb,
    holding: Holding,
    prepared: Sequence[tuple[Prepared, int]],
    asked: Sequence[FeatureEntitlement],
    entitlement: Entitlement,
    reply: list[Any],
    at_ms: int,
) -> list[Decision]:
    refused = reply[0] == Code.DENIED
    now_ms = reply[1]
    decision_id = None
    if verb != "check" and not refused:
        decision_id = f"{holding.bucket:04d}-{reply[2]}-{reply[3]}"
    described = {}
    for (one, _), outcome in zip(prepared, read_outcomes(reply), strict=True):
        described[one.ask.feature.feature] = describe(
            one.ask, outcome, at_ms=now_ms, decision_id=decision_id, refused=refused
        )
    found = []
    for feature in asked:
        if feature.feature in described:
            found.append(described[feature.feature])
        else:
            reason = "not_attempted" if refused else "granted"
            request = UsageRequest(customer=holding.customer)
            item = Item(feature=feature.feature)
            found.append(_plain_decision(request, item, entitlement, reason, at_ms))
    return found


def _plain_decision(
    request: UsageRequest, item: Item, entitlement: Entitlement | None, reason: str, at_ms: int
) -> Decision:
    """A decision without counters."""
    status = HTTP_STATUS[reason]
    if entitlement is not None:
        status = entitlement.statuses.get(reason) or status
    granted = reason == "granted"
    feature = None if entitlement is None else entitlement.features.get(item.feature)
    asked = None
    if feature is not None and entitlement is not None:
        asked = ask(entitlement, feature, max(at_ms, entitlement.starts_ms))
    return Decision(
        ask=asked,
        customer=request.customer,
        feature=item.feature,
        allowed=granted,
        reason=reason,
        http_status=status,
        quantity=0 if feature is not None else 1,
        at_ms=at_ms,
        balance=None if granted else 0,
        available=None if granted else 0,
        plan=None if entitlement is None else entitlement.plan,
        catalog=None if entitlement is None else entitlement.catalog,
        currency=None if entitlement is None else entitlement.currency,
    )


def _stamp(request: UsageRequest, caller: Caller) -> Stamp:
    return Stamp(
        caller.id, request.request_id, request.idempotency_key, request.metadata, request.route
    )


def _digest(*parts: bytes | str) -> bytes:
    """16 bytes of a hash over parts that cannot run into each other."""
    hasher = blake2b(digest_size=16)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        hasher.update(b"%d:" % len(raw))
        hasher.update(raw)
    return hasher.digest()


def _fingerprint(request: UsageRequest) -> bytes:
    """16 bytes that differ when the payload does; the spelling of a number does not count."""
    payload = [
        [
            item.feature,
            _plain(item.quantity),
            item.variant,
            item.usage and {k: _plain(v) for k, v in item.usage.items()},
        ]
        for item in _items_of(request)
    ]
    return blake2b(_pack([payload, request.metadata]), digest_size=16).digest()


def _plain(quantity: Number) -> str:
    return "1" if quantity is None else str(quantity)


def key_time_ms(key: str) -> int | None:
    """When a UUIDv7 (RFC 9562) or a ULID was made, milliseconds; None for any other key."""
    if match := _UUID7.fullmatch(key.lower()):
        return int("".join(match.groups()), 16)
    if _ULID.fullmatch(key):
        made_ms = 0
        for character in key[:10]:
            made_ms = made_ms * 32 + _CROCKFORD[character]
        return made_ms
    return None


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
