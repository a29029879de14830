"""Entitlements in memory, laid out for decisions; Redis says when one is out of date."""

from collections import OrderedDict

import msgpack

from gateway.connection import Connection
from gateway.pricing.ask import Ask, ask
from gateway.pricing.entitlement import Entitlement, FeatureEntitlement
from gateway.rendering import Rendering
from lua import keys

HELD_MAX = 100_000
"""Customers kept in memory by one process; the one loaded longest ago is dropped."""

PAST_MAX = 1_000
"""Replaced entitlements kept to word repeated answers by."""

UNLIMITED = "unlimited"


class Prepared:
    """One feature of one customer, ready to be sent: its Ask and the script operands that never change with it."""

    __slots__ = ("ask", "key", "packed", "rendering", "shared")

    def __init__(self, asked: Ask, key: bytes) -> None:
        self.ask = asked
        self.key = key
        self.shared = (asked.feature.feature.encode(), *_operands(asked))
        """The operands of an item before its quantity."""
        self.packed: tuple[object, bytes, bytes] | None = None
        """For `Gatherings`: the server it was packed for, and the parts of the command that stay."""
        self.rendering = Rendering.of(asked)
        """What fills in the usual answer; None where there is none."""

    def operands(self, quantity: int) -> list[bytes]:
        """One item of ARGV, as lua/lib/item.lua reads it."""
        return [*self.shared, b"%d" % quantity]


class Holding:
    """One customer as this process knows it: the entitlement and the keys of its bucket."""

    __slots__ = ("bucket", "customer", "entitlement", "key", "prepared", "version")

    def __init__(self, customer: str, version: int, entitlement: Entitlement) -> None:
        self.customer = customer
        self.bucket = keys.bucket_of(customer)
        self.key = keys.entitlement(customer).encode()
        self.version = version
        self.entitlement = entitlement
        self.prepared: dict[str, Prepared] = {}

    def prepare(
        self, feature: FeatureEntitlement, entitlement: Entitlement, at_ms: int
    ) -> Prepared:
        """The feature's operands at an instant, made once for as long as no window ends."""
        prepared = self.prepared.get(feature.feature)
        if (
            prepared is None
            or not prepared.ask.valid_from_ms <= at_ms < prepared.ask.valid_until_ms
        ):
            key = keys.usage(self.customer, feature.feature).encode()
            prepared = Prepared(ask(entitlement, feature, at_ms), key)
            self.prepared[feature.feature] = prepared
        return prepared


class Entitlements:
    """The customers this process has decided for lately."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._held: dict[str, Holding] = {}
        self._past: OrderedDict[tuple[str, int], Entitlement] = OrderedDict()

    def held(self, customer: str) -> Holding | None:
        """The customer from memory, perhaps out of date: the script's fence tells."""
        return self._held.get(customer)

    async def load(self, customer: str) -> Holding | None:
        """The customer as Redis has it now; None when it is unknown. Raises Outage."""
        version, doc = await self._connection.execute(
            "HMGET", keys.entitlement(customer), "version", "doc"
        )
        if not doc:
            self._held.pop(customer, None)
            return None
        holding = self._held.get(customer)
        if holding is not None and holding.version == int(version):
            return holding
        holding = Holding(customer, int(version), Entitlement.from_plain(msgpack.unpackb(doc)))
        self._held.pop(customer, None)
        self._held[customer] = holding
        while len(self._held) > HELD_MAX:
            del self._held[next(iter(self._held))]
        return holding

    async def past(self, customer: str, version: int) -> Entitlement | None:
        """An entitlement by its version, current or replaced; None once Redis has forgotten it."""
        holding = self._held.get(customer)
        if holding is not None and holding.version == version:
            return holding.entitlement
        if (found := self._past.get((customer, version))) is not None:
            return found
        doc = await self._connection.execute("HGET", keys.past_entitlements(customer), version)
        if doc is None:
            current = await self.load(customer)
            return current.entitlement if current and current.version == version else None
        found = Entitlement.from_plain(msgpack.unpackb(doc))
        self._past[customer, version] = found
        while len(self._past) > PAST_MAX:
            self._past.popitem(last=False)
        return found

    def forget(self, customer: str) -> None:
        """Drop what is held of a customer that has changed."""
        self._held.pop(customer, None)

    def forget_all(self) -> None:
        """Drop everything, after pushes may have been missed."""
        self._held.clear()


def _operands(asked: Ask) -> tuple[bytes, ...]:
    """The operands of an item between its feature and its quantity, as lua/lib/item.lua reads them."""
    feature, price = asked.feature, asked.price
    included = UNLIMITED if feature.included is None else str(feature.included)
    terms = (
        f"{feature.overage},{int(feature.enforce)},{included},"
        f"{asked.price_id},{asked.period_start_ms},{asked.included_window + 1}"
    )
    windows = "".join(f"{w.name},{w.end_ms},{w.length_ms};" for w in asked.windows)
    limits = "".join(
        f"{item.window + 1},{item.limit.max},{int(item.limit.enforce)};" for item in asked.limits
    )
    compiled = ""
    if price is not None:
        tiers = "".join(",".join(map(str, tier)) + ";" for tier in price.tiers)
        compiled = f"{price.kind},{price.denominator};{tiers}"
    return terms.encode(), windows.encode(), limits.encode(), compiled.encode()
