"""The scripts called as the gateway calls them, one customer, over any client; and entitlements to call them with."""

import time
from dataclasses import dataclass, field
from typing import Any

import msgpack
import redis

from gateway.entitlements import Holding
from gateway.outcome import read_outcomes
from gateway.pricing.decision import Decision, Outcome, describe
from gateway.pricing.entitlement import Entitlement, FeatureEntitlement, Limit
from gateway.pricing.price import Price
from gateway.pricing.window import Span
from gateway.stamp import stamp_of
from gateway.usage_request import UsageRequest
from lua import keys, load
from lua.reply import Adoption, Code

CUSTOMER = "acme"
DAY_MS = 86_400_000


def limit(maximum: int, every: str, align: str = "calendar", **more: Any) -> Limit:
    name = more.pop("name", f"api_calls.{every.replace(' ', '_')}")
    return Limit(name=name, max=maximum, span=Span.parse(every), align=align, **more)


def feature(feature: str = "api_calls", **more: Any) -> FeatureEntitlement:
    given: dict[str, Any] = {
        "feature": feature,
        "name": "API calls",
        "unit": "call",
        "included": 100,
        "reset": Span("hour"),
        "align": "calendar",
    }
    return FeatureEntitlement(**(given | more))


def per_unit(unit: str) -> Price:
    return Price.from_plain({"model": "per_unit", "unit": unit})


def entitlement(*features: FeatureEntitlement, version: int = 1, **more: Any) -> Entitlement:
    given: dict[str, Any] = {
        "customer": CUSTOMER,
        "version": version,
        "catalog": 1,
        "plan": "pro",
        "plan_name": "Pro",
        "currency": "USD",
        "zone": "UTC",
        "anchor_ms": 1_700_000_000_000,
        "starts_ms": 1_700_000_000_000,
        "period": Span("month"),
        "features": {one.feature: one for one in features},
    }
    return Entitlement(**(given | more))


@dataclass
class Reply:
    """A script's answer, read."""

    code: int
    now_ms: int
    epoch: int
    seq: int
    outcomes: list[Outcome]
    raw: list[Any]
    decisions: list[Decision] = field(default_factory=list)


class Calls:
    """One customer on one server; each call returns a Reply."""

    def __init__(self, client: redis.Redis, customer: str = CUSTOMER) -> None:
        self.client = client
        self.customer = customer
        self.bucket = keys.bucket_of(customer)
        self.run_id, self.replid = "r1", "p1"
        self.acked = (0, 0)
        self.current: Entitlement | None = None
        self.at_ms = self.server_ms()

    def server_ms(self) -> int:
        seconds, micros = self.client.time()
        return seconds * 1000 + micros // 1000

    def run(self, name: str, **operands: Any) -> Any:
        key_list, args = load(name).bind(**operands)
        return self.client.eval(load(name).source, len(key_list), *key_list, *args)

    def adopt(self, **more: Any) -> list[int]:
        given: dict[str, Any] = {
            "meta": keys.meta(self.bucket),
            "log": keys.log(self.bucket),
            "run_id": self.run_id,
            "replid": self.replid,
            "epoch": 1,
            "buckets": keys.BUCKETS,
            "ledger_epoch": 0,
            "ledger_seq": 0,
            "offset_ms": 0,
        }
        reply: list[int] = self.run("adopt", **(given | more))
        Adoption(reply[0])
        return reply

    def entitle(self, entitled: Entitlement) -> int:
        self.current = entitled
        return int(
            self.run(
                "entitle",
                entitlement=keys.entitlement(self.customer),
                past=keys.past_entitlements(self.customer),
                version=entitled.version,
                doc=msgpack.packb(entitled.to_plain()),
                keep_ms=DAY_MS,
            )
        )

    def move_to(self, at_ms: int) -> None:
        """Set the test clock, which only goes forward."""
        offset = at_ms - self.server_ms()
        self.client.hset(keys.meta(self.bucket), "offset_ms", offset)
        self.at_ms = at_ms

    def state(self, name: str = "api_calls") -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = self.client.hgetall(keys.usage(self.customer, name))
        return found

    def log(self) -> list[Any]:
        return list(self.client.xrange(keys.log(self.bucket)))

    def consume(self, quantity: int = 1, name: str = "api_calls", **more: Any) -> Reply:
        return self.decide("consume", {name: quantity}, **more)

    def check(self, quantity: int = 1, name: str = "api_calls", **more: Any) -> Reply:
        return self.decide("check", {name: quantity}, **more)

    def track(self, quantity: int = 1, name: str = "api_calls", **more: Any) -> Reply:
        return self.decide("track", {name: quantity}, **more)

    def consume_many(self, quantities: list[int], name: str = "api_calls") -> list[list[int]]:
        """The numbers of each request, decided in one call at the time last seen."""
        assert self.current is not None
        holding = Holding(self.customer, self.current.version, self.current)
        one = holding.prepare(self.current.features[name], self.current, self.at_ms)
        moment = (time.time_ns() // 1_000_000, *self.acked)
        stamp = stamp_of(UsageRequest(customer=self.customer), self.current.version, "pro", 1)
        shared = ("feature", "terms", "windows", "limits", "price")
        answers: list[list[int]] = self.run(
            "consume_many",
            meta=keys.meta(self.bucket),
            log=keys.log(self.bucket),
            entitlement=keys.entitlement(self.customer),
            usage=one.key,
            run_id=self.run_id,
            replid=self.replid,
            version=self.current.version,
            moment=",".join(map(str, (*moment, one.ask.valid_from_ms, one.ask.valid_until_ms))),
            customer=self.customer,
            **dict(zip(shared, one.shared, strict=True)),
            requests=[part for quantity in quantities for part in (quantity, stamp)],
        )
        return answers

    def decide(self, verb: str, quantities: dict[str, int], **more: Any) -> Reply:
        """Like the gateway: windows for the time last seen, once more when the script says it is another."""
        reply = self._decide(verb, quantities, **more)
        if reply.code == Code.STALE_WINDOWS and "at_ms" not in more:
            self.at_ms = reply.now_ms
            reply = self._decide(verb, quantities, **more)
        return reply

    def _decide(
        self,
        verb: str,
        quantities: dict[str, int],
        *,
        at_ms: int | None = None,
        idempotency_key: bytes = b"",
        fingerprint: bytes = b"f" * 16,
        **more: Any,
    ) -> Reply:
        assert self.current is not None
        holding = Holding(self.customer, self.current.version, self.current)
        current = self.current.at(at_ms or self.at_ms)
        prepared = [
            (holding.prepare(current.features[name], current, at_ms or self.at_ms), quantity)
            for name, quantity in quantities.items()
        ]
        moment = {
            "caller_ms": time.time_ns() // 1_000_000,
            "acked_epoch": self.acked[0],
            "acked_seq": self.acked[1],
            "valid_from_ms": max(one.ask.valid_from_ms for one, _ in prepared),
            "valid_until_ms": min(one.ask.valid_until_ms for one, _ in prepared),
        }
        moment |= {name: more.pop(name) for name in list(more) if name in moment}
        given: dict[str, Any] = {
            "meta": keys.meta(self.bucket),
            "log": keys.log(self.bucket),
            "entitlement": keys.entitlement(self.customer),
            "idempotency": keys.idempotency(self.bucket, 2, 0),
            "idempotency_past": keys.idempotency(self.bucket, 1, 0),
            "usage": [one.key for one, _ in prepared],
            "run_id": self.run_id,
            "replid": self.replid,
            "version": self.current.version,
            "moment": ",".join(map(str, moment.values())),
            "field": idempotency_key,
            "fingerprint": fingerprint,
            "forget_ms": self.server_ms() + DAY_MS,
            "customer": self.customer,
            "stamp": stamp_of(
                UsageRequest(customer=self.customer, source="key", request_id="request"),
                self.current.version,
                current.plan,
                1,
            ),
            "items": [part for one, quantity in prepared for part in one.operands(quantity)],
        }
        raw = self.run(verb, **(given | more))
        reply = Reply(raw[0], raw[1], raw[2], raw[3], [], raw)
        if raw[0] in (Code.DONE, Code.DENIED):
            reply.outcomes = read_outcomes(raw)
            reply.decisions = [
                describe(
                    one.ask,
                    outcome,
                    at_ms=raw[1],
                    decision_id=f"{self.bucket}-{raw[2]}-{raw[3]}",
                    refused=raw[0] == Code.DENIED,
                )
                for (one, _), outcome in zip(prepared, reply.outcomes, strict=True)
            ]
        if raw[0] == Code.DONE and verb != "check":
            self.acked = (raw[2], raw[3])
        return reply


def dump(client: redis.Redis) -> dict[bytes, Any]:
    """Everything a server holds, with TTLs as absolute times, to compare before and after."""
    readers = {
        b"hash": client.hgetall,
        b"stream": client.xrange,
        b"string": client.get,
        b"set": client.smembers,
    }
    found = {}
    for key in client.scan_iter():
        ttl = client.pttl(key)
        deadline = ttl if ttl < 0 else "expires"
        found[key] = (readers[client.type(key)](key), deadline)
    return found
