"""Real decisions by the real scripts, for customers whose entitlements Postgres has."""

from dataclasses import dataclass, field
from typing import Any

import msgpack
import psycopg
from redis import Redis

from gateway.pricing.entitlement import Entitlement
from gateway.pricing.window import Span
from lua.reply import Code
from reconciler.adoption import Adopted, adopt
from reconciler.copier import Copier
from reconciler.server import server_of
from tests.lua.calls import Calls, Reply, entitlement, feature, per_unit

HOUR_MS = 3_600_000


def charged(**more: Any) -> Any:
    """A feature with ten included a day, then charged."""
    given = {
        "included": 10,
        "reset": Span("day"),
        "overage": "charge",
        "price": per_unit("0.004"),
    }
    return feature(**(given | more))


@dataclass
class Decisions:
    """Customers who decide on one Redis and are copied to one Postgres."""

    redis: Redis
    connection: psycopg.Connection
    customers: dict[str, Calls] = field(default_factory=dict)
    published: int = 0

    def entitle(self, customer: str, *features: Any, version: int = 1, **more: Any) -> Calls:
        """Put an entitlement in force: in Postgres, then in Redis."""
        entitled = entitlement(
            *(features or (charged(),)), version=version, customer=customer, **more
        )
        self.connection.execute(
            "INSERT INTO tg.entitlements (customer, version, doc, made_at) VALUES (%s, %s, %s, now())",
            [customer, version, msgpack.packb(entitled.to_plain())],
        )
        calls = self.customers.get(customer) or Calls(self.redis, customer)
        self.customers[customer] = calls
        calls.entitle(entitled)
        self.know_server()
        return calls

    def know_server(self) -> None:
        """What a gateway does when it connects."""
        server = server_of(self.redis)
        for calls in self.customers.values():
            calls.run_id, calls.replid = server.run_id, server.replid

    def publish(self, connection: psycopg.Connection, redis: Redis) -> None:
        """Send every customer's entitlement again."""
        self.published += 1
        for calls in self.customers.values():
            assert isinstance(calls.current, Entitlement)
            calls.entitle(calls.current)

    def adopt(self, **more: Any) -> Adopted:
        done = adopt(
            self.connection,
            self.redis,
            publish=self.publish,
            **({"offset_ms": 0, "now_ms": self.now_ms()} | more),
        )
        self.know_server()
        return done

    def now_ms(self) -> int:
        seconds, micros = self.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def consume(self, customer: str, quantity: int = 1, **more: Any) -> Reply:
        reply = self.customers[customer].consume(quantity, **more)
        assert reply.code == Code.DONE, reply
        return reply

    def copy(self, copier: Copier | None = None) -> int:
        """Copy all there is."""
        copier = copier or Copier(self.redis, batch_entries_max=1_000)
        copier.refresh(self.connection)
        total = 0
        while copied := copier.copy(self.connection, now_ms=self.now_ms()):
            total += copied
        return total

    def ledger(self, customer: str) -> int:
        """The customer's quantity in the ledger."""
        found = self.connection.execute(
            "SELECT coalesce(sum(quantity), 0)::bigint FROM tg.decisions WHERE customer = %s",
            [customer],
        ).fetchone()
        assert found is not None
        return int(found[0])

    def counter(self, customer: str, window: str = "period", name: str = "api_calls") -> int:
        """What Redis has counted in a window."""
        return int(self.customers[customer].state(name).get(f"{window}:used".encode(), 0))
